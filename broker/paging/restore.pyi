from collections.abc import Callable

from broker.durability.message_replay import ReplayedQueue
from broker.durability.queue_log import VirtualHostJournal
from broker.queueing.queue import Queue
from broker.queueing.ready import PagedMessage
from storage.machine import Machine

def restore_messages(
    queue: Queue,
    replayed: ReplayedQueue,
    journal: VirtualHostJournal,
    machine: Machine,
    give_up: Callable[[Queue, int, PagedMessage, int, int], None],
) -> None:
    """Give a queue the messages that recovery found for it, paged out as far as nothing about them has to be known.

    Where priorities, times or groups ask for it, and where messages expire, they are read. What cannot be read goes to
    ``give_up(queue, position, message, status, errno)``. Raises OSError if something cannot be read for want of
    descriptors or memory, also after some attempts.
    """
