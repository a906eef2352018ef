"""How a simulated disk treats the lives of a process: drawn from a seed, mild ones and rough ones."""

import errno
import random
from dataclasses import dataclass

from tests.simulation.disk import Faults

ERRORS = (errno.EIO, errno.ENOSPC)
OPERATIONS_PER_LIFE = 400
SOON = 12
FULL_MAX = 60


@dataclass(frozen=True)
class Weather:
    """What may happen in a run beside crashes: operations that ``fail``, and bits that flip (``rots``)."""

    fails: bool = False
    rots: bool = False

    @classmethod
    def of(cls, chance: random.Random) -> "Weather":
        fate = chance.random()
        return cls(fails=0.5 <= fate < 0.85, rots=fate >= 0.85)

    def faults(self, chance: random.Random, operation_count: int) -> Faults:
        """Return what goes wrong in one life, which begins after so many operations."""
        faults = Faults()
        if chance.random() < 0.5:
            faults.power_off_at = operation_count + chance.randrange(1, OPERATIONS_PER_LIFE)
        if self.fails and chance.random() < 0.7:
            if chance.random() < 0.3:
                # A disk that is full for a while.
                at = operation_count + chance.randrange(1, OPERATIONS_PER_LIFE)
                faults.errors |= dict.fromkeys(range(at, at + chance.randrange(FULL_MAX)), errno.ENOSPC)
            for _ in range(chance.randint(1, 3)):
                at = operation_count + chance.randrange(1, OPERATIONS_PER_LIFE)
                faults.errors[at] = chance.choice(ERRORS)
                if chance.random() < 0.4:
                    # Soon after, before anything else has covered it up.
                    faults.power_off_at = at + chance.randrange(1, SOON)
        return faults
