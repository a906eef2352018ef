"""How a message gets into the queues that it was routed to, and into the journal."""

from typing import Any

import cython

from broker.durability.queue_log import VirtualHostJournal
from broker.queueing.message import Message
from broker.queueing.queue import Queue


def place(message: Message, queues: Any, any_durable: cython.bint, journal: VirtualHostJournal) -> int:
    """Put a message into a tuple of queues; ``any_durable`` says whether one of them could be durable.

    Returns the number of the batch of the journal that makes it durable, 0 if there is nothing to wait for.
    """
    count: cython.Py_ssize_t = len(queues)
    batch: cython.ulonglong = 0
    position: cython.ulonglong
    queue: Queue
    if count == 1:
        queue = queues[0]
        position = queue.next_position()
        if message.persistent and queue.log is not None:
            batch = journal.publish_to_one(message, queue.log, position)
        queue.enqueue(message, position, False)
        return batch
    positions = [cython.cast(Queue, queue).next_position() for queue in queues]
    if message.persistent and any_durable:
        batch = _write_for_many(message, queues, positions, journal)
    index: cython.Py_ssize_t
    for index in range(count):
        queue = queues[index]
        queue.enqueue(message, positions[index], False)
    return batch


def _write_for_many(message: Message, queues: Any, positions: list[int], journal: VirtualHostJournal) -> int:
    logs = []
    durable_positions = []
    for queue, position in zip(queues, positions, strict=True):
        if queue.log is not None:
            logs.append(queue.log)
            durable_positions.append(position)
    return journal.publish_to_many(message, logs, durable_positions) if logs else 0
