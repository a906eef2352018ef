"""A virtual host and its clients through several lives on a simulated machine."""

import math
import random
import sys
from copy import deepcopy
from pathlib import Path
from typing import Self

from broker import clock
from broker.paging.read_retry import PASSING_ERRORS, ReadRetry
from storage.errors import JournalError
from storage.options import JournalOptions
from tests.simulation.broker_damage import RecordDamage
from tests.simulation.broker_model import BrokerModel, Copy
from tests.simulation.client import LifeEnded
from tests.simulation.clients import (
    COUNTING,
    DEAD_LETTER_QUEUES,
    Administrator,
    Auditor,
    Consumer,
    Getter,
    ModelledClient,
    Publisher,
    Transactor,
    World,
)
from tests.simulation.disk import Faults, SimulatedDisk
from tests.simulation.journal_run import is_readable
from tests.simulation.machine import BEGINNING_MS, SimulatedMachine
from tests.simulation.trace import Trace
from tests.simulation.violation import Violation, demand
from tests.simulation.weather import Weather
from tests.support.in_process import InProcessBroker

DIRECTORY = Path("/vhost")
LIVES_MAX = 4
STEPS_MAX = (100, 400, 1500)
ACTS_MAX = (1, 1, 5)
CLIENTS_MAX = 6
SEGMENT_SIZES = (4096, 8192, 16384, 65536)
ROLES: tuple[type[ModelledClient], ...] = (Publisher, Publisher, Publisher, Consumer, Consumer, Getter, Transactor)
SLEEPS_MS = (0, 0, 1, 20, 500, 4000)
MESSAGE_MEMORIES_BYTES = (sys.maxsize, sys.maxsize, 300, 2000, 20_000)
PIECE_SIZES = (1, 7, 100, 5000, 1 << 18)
SCARCITIES = (0.0, 0.0, 0.2, 0.7)


LIVING = (SimulatedMachine, InProcessBroker, World, Administrator)
"""What there is a new one of in each life."""


class BrokerRun:
    """One seed. ``run`` raises ``Violation`` where a promise is not kept."""

    def __init__(self, seed: int, weather: Weather | None = None) -> None:
        self.chance = random.Random(f"broker {seed}")
        self.trace = Trace()
        drawn = Weather.of(self.chance)
        self.weather = weather or drawn
        self.disk = SimulatedDisk(random.Random(f"disk {seed}"))
        self.options = JournalOptions(
            self.chance.choice(SEGMENT_SIZES), self.chance.choice(SEGMENT_SIZES), self.chance.randrange(3)
        )
        self.memory_bytes = random.Random(f"memory {seed}").choice(MESSAGE_MEMORIES_BYTES)
        self.scarcity_chance = self.disk.scarcity_chance = random.Random(f"scarcity {seed}")
        self.model = BrokerModel(DEAD_LETTER_QUEUES, ["transient"], COUNTING)
        self.time_ms = BEGINNING_MS
        self.errors_before = 0
        self.damage: RecordDamage | None = None
        self.clients: list[ModelledClient] = []
        self.machine: SimulatedMachine
        self.broker: InProcessBroker
        self.world: World
        self.administrator: Administrator

    def run(self) -> None:
        self.run_lives()
        self.run_end()

    def run_lives(self) -> None:
        """Live until the damage comes."""
        try:
            self.trace.note(f"{self.weather} {self.options}, {self.memory_bytes} bytes for messages")
            for _ in range(self.chance.randint(1, LIVES_MAX)):
                self.disk.faults = self.weather.faults(self.chance, self.disk.operation_count)
                self.disk.scarcity = self.scarcity_chance.choice(SCARCITIES)
                self.live(self.chance.randrange(1, self.chance.choice(STEPS_MAX)))
            self.disk.faults = Faults()
            self.disk.scarcity = 0.0
        finally:
            clock.stand_still(0)

    def copied(self) -> Self:
        """Return a copy of a run between two lives; it shares the clients of those before, which nothing changes."""
        gone = [each for each in vars(self).values() if isinstance(each, LIVING)]
        gone += [message.publisher for message in self.model.messages]
        self.clients.clear()
        self.disk.meanwhile = lambda _: None
        return deepcopy(self, {id(each): each for each in gone})

    def run_end(self) -> None:
        """Damage what there is to be damaged, and see what is left."""
        try:
            if self.weather.rots:
                self.damage = RecordDamage(self.disk, DIRECTORY, self.model)
                self.strike(self.damage)
            self.live(0)
        finally:
            clock.stand_still(0)

    def strike(self, damage: RecordDamage) -> None:
        damage.strike(self.chance, self.trace.note)

    def live(self, steps: int) -> None:
        """Start, go on for some steps (0: only look what there is), and end in some way."""
        self.trace.note("start")
        self.clients.clear()
        self.errors_before = self.disk.error_count
        self.machine = SimulatedMachine(self.disk, self.chance, self.trace.note, self.time_ms)
        try:
            self.broker = InProcessBroker(DIRECTORY, self.machine, self.options, self.time_ms, self.memory_bytes)
        except JournalError as error:
            raise Violation(f"a start is refused only where something is damaged: {error}") from error
        except OSError as error:
            demand(
                self.disk.is_off or self.disk.error_count > 0 or error.errno in PASSING_ERRORS,
                f"nothing fails of itself: {error}",
            )
            self.machine.crash()
            self.rest()
            return
        try:
            self.begin(audit=steps == 0 or self.chance.random() < 0.3)
            for _ in range(steps):
                self.step()
            if steps == 0 or self.chance.random() < 0.25:
                self.stop()
                return
        except LifeEnded:
            self.trace.note("the life has ended")
            demand(self.disk_failed, f"an answer comes unless the disk fails: {list(self.trace.lines)[-3:]}")
        self.crash()

    def begin(self, audit: bool) -> None:
        self.world = World(self.broker, self.model, self.chance, self.run_turn, self.pass_time, self.trace.note)
        self.check_reported()
        if self.damage is not None:
            self.world.recovered = self.damage.recovered
        self.administrator = Administrator(self.world)
        self.administrator.open()
        self.administrator.set_up()
        if not audit:
            return
        auditor = Auditor(self.world)
        auditor.open()
        found, waited = auditor.audit()
        self.check_alive()
        self.trace.note(f"audit { ({queue: [copy.message.number for copy in found[queue]] for queue in found}) }")
        self.model.on_audit(found, waited, self.check_quarantined(found))
        auditor.cut()

    def check_reported(self) -> None:
        """See that the start reports what is damaged, as far as it has to read it, and nothing else."""
        damage = self.broker.vhost.damage
        # Where damage has no end, it may go on in a segment that was never written.
        places = [
            each
            for each in damage.at_start
            if any(self.disk.names[str(each.path)].seen[each.offset : each.offset + each.size])
        ]
        demand(
            len(places) == (self.damage.place_count if self.damage is not None else 0)
            and damage.lost_record_count <= len(places)
            and damage.damage_count == len(damage.at_start) <= 2 * len(places),
            f"what is damaged is reported: {damage.damage_count} places, {damage.lost_record_count} records lost",
        )

    def check_quarantined(self, found: dict[str, list[Copy]]) -> int:
        """See that what cannot be read is what is damaged. Returns how much else a failing disk did not give back."""
        count = self.broker.counters.messages_quarantined
        expected = self.damage.quarantined_count if self.damage is not None else 0
        unreadable = self.damage.unreadable if self.damage is not None else []
        for queue, copy in unreadable:
            demand(copy not in found.get(queue, []), f"what is damaged is not delivered: {copy}")
        demand(count >= expected, f"what is missing is counted: {count} messages of {expected}")
        demand(count == expected or self.disk_failed, f"what is not damaged can be read: {count} of {expected} cannot")
        return count - expected

    # What goes on

    def run_turn(self) -> bool:
        """Let the loop and the machine go on by one thing each. Returns whether there was anything to do."""
        progress = self.turn()
        progress = self.look() or progress
        progress = self.machine.step() or progress
        self.machine.check()
        if not progress and self.machine.wait_out_stalls():
            self.set_clock()
            return True
        return progress or self.wait_for_retry()

    def wait_for_retry(self) -> bool:
        """Let time pass until the broker reads again what it could not read. Returns whether there is anything."""
        for alarm in self.broker.loop.alarms:
            if isinstance(getattr(alarm.callback, "__self__", None), ReadRetry) and not alarm.cancelled:
                self.trace.note("waits to read again")
                self.machine.now_ms = max(self.machine.now_ms, math.ceil(alarm.at_ms))
                self.set_clock()
                return True
        return False

    def turn(self) -> bool:
        loop = self.broker.loop
        ready, loop.ready = loop.ready, []
        for callback in ready:
            callback()
        rang = loop.ring()
        if ready:
            self.model.on_turn(self.broker.vhost.journal.journal.sequence)
        return bool(ready) or rang

    def look(self) -> bool:
        """Do what the loop does when the journal has something to tell."""
        for descriptor, callback in list(self.broker.loop.readers.items()):
            if is_readable(descriptor):
                callback()
                return True
        return False

    def pass_time(self, duration_ms: int) -> None:
        self.machine.now_ms += duration_ms
        self.set_clock()

    def set_clock(self) -> None:
        clock.stand_still(self.machine.now_ms)

    @property
    def disk_failed(self) -> bool:
        """Whether anything went wrong in this life."""
        return bool(self.broker.errors) or self.disk.is_off or self.disk.error_count > self.errors_before

    def check_alive(self) -> None:
        if self.disk.is_off or self.broker.errors:
            raise LifeEnded

    def step(self) -> None:
        self.check_alive()
        fate = self.chance.random()
        if fate < 0.01:
            self.broker.vhost.journal.journal.retry()
        elif fate < 0.2:
            self.machine.step()
            self.machine.check()
        elif fate < 0.4:
            self.turn()
        elif fate < 0.5:
            self.look()
        elif fate < 0.53:
            self.pass_time(self.chance.choice(SLEEPS_MS))
        elif fate < 0.54:
            self.trace.note("administrate")
            self.administrator.act()
        elif len(self.clients) < CLIENTS_MAX and (not self.clients or fate < 0.57):
            self.clients.append(self.chance.choice(ROLES)(self.world))
            self.trace.note(f"a {type(self.clients[-1]).__name__} comes")
            self.clients[-1].open()
        elif self.clients:
            self.client_step(self.chance.choice(self.clients))

    def client_step(self, client: ModelledClient) -> None:
        fate = self.chance.random()
        size = self.chance.randint(1, self.chance.choice(PIECE_SIZES))
        if client.gone or fate < 0.005:
            self.trace.note("a client goes")
            self.clients.remove(client)
            client.cut()
        elif fate < 0.4:
            for _ in range(self.chance.randint(1, self.chance.choice(ACTS_MAX))):
                client.act()
        elif fate < 0.7:
            if client.can_hand_over:
                self.trace.note(f"octets {size}")
                client.hand_over(size)
        else:
            client.receive(size)

    # The end of a life

    def stop(self) -> None:
        """Stop cleanly, when everybody has got the answers that they wait for."""
        self.trace.note("stop")
        self.finish()
        for client in [] if self.disk_failed else self.clients:
            if isinstance(client, Publisher) and not client.gone:
                demand(not client.outstanding, f"each publish is confirmed: {sorted(client.outstanding)}")
            if isinstance(client, Transactor) and not client.gone:
                demand(not client.committing, "each commit is answered")
        for client in [*self.clients, self.administrator]:
            client.cut()
        self.finish()
        journal = self.broker.vhost.journal.journal
        self.broker.vhost.close(self.broker.loop)  # type: ignore[arg-type]
        self.machine.check()
        self.model.on_turn(journal.sequence)
        self.model.on_life_ended(journal.durable_sequence)
        self.machine.crash()
        self.rest()

    def finish(self) -> None:
        """Let everything be done that is under way."""
        progress = True
        while progress:
            progress = self.run_turn()
            for client in self.clients:
                while client.can_hand_over:
                    client.hand_over(1 << 20)
                    progress = True
                if client.network.sent:
                    client.receive(1 << 20)
                    progress = True
        self.check_alive()

    def crash(self) -> None:
        """Lose the process, or the power; what was under way gets as far as it gets."""
        if not self.disk.is_off:
            self.disk.faults.power_off_at = self.disk.operation_count + self.chance.randrange(1, 12)
            for _ in range(self.chance.randrange(4)):
                self.machine.step()
        journal = self.broker.vhost.journal.journal
        self.model.on_life_ended(journal.durable_sequence)
        self.machine.crash()
        self.broker.crash()
        self.rest()

    def rest(self) -> None:
        """Be off for a while."""
        power_lost = self.chance.random() < 0.6
        self.trace.note("power lost" if power_lost else "process gone")
        self.time_ms = self.machine.now_ms + self.chance.choice(SLEEPS_MS)
        self.disk.restart(power_lost)
