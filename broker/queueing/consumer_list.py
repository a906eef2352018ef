"""The consumers of a queue: whose turn it is."""

import cython

from broker.queueing.consumer import Consumer


class ConsumerList:
    """The consumers of a queue, those with higher priority first, and among equals in the order of their coming.

    Equals take turns. If ``single``, only the ``active`` one gets messages, and the next takes over when it goes.
    """

    def __init__(self) -> None:
        self.consumers: list[Consumer] = []
        self.active: Consumer | None = None
        self.single = False
        self._ranked = False
        self._turn = 0
        self.passed_over = False

    def set_single(self, single: bool) -> None:
        """Let only one consumer be active, or all."""
        if single != self.single:
            self.single = single
            self.active = self.consumers[0] if single and self.consumers else None

    def add(self, consumer: Consumer) -> None:
        """Add a consumer behind the others of its priority."""
        if consumer.priority and not self._ranked:
            self._set_ranked()
        self._insert(consumer)
        if self.single and self.active is None:
            self.active = consumer

    def _set_ranked(self) -> None:
        # From here on those who have had their turn stand at the end of their equals.
        self.consumers[:] = self.consumers[self._turn :] + self.consumers[: self._turn]
        self._turn = 0
        self._ranked = True

    def _insert(self, consumer: Consumer) -> None:
        if not self._ranked and not self.single:
            # Its turn comes after that of all the others.
            self.consumers.insert(self._turn, consumer)
            self._turn += 1
            return
        index = len(self.consumers)
        while index and self.consumers[index - 1].priority < consumer.priority:
            index -= 1
        self.consumers.insert(index, consumer)

    def remove(self, consumer: Consumer) -> bool:
        """Remove a consumer. Returns whether another one has become active by that."""
        self._withdraw(consumer)
        if self._ranked:
            self._ranked = any(one.priority for one in self.consumers)
        if consumer is not self.active:
            return False
        self.active = self.consumers[0] if self.consumers else None
        return self.active is not None

    def next_with_credit(self) -> Consumer | None:
        """Return the next consumer in turn that can take a message, None if there is none."""
        if self._ranked or self.single:
            return self._next_by_rank()
        count: cython.Py_ssize_t = len(self.consumers)
        index: cython.Py_ssize_t
        consumer: Consumer
        for _ in range(count):
            index = self._turn
            if index >= count:
                index = 0
            self._turn = index + 1
            consumer = self.consumers[index]
            if consumer.can_take():
                return consumer
            self.passed_over = consumer.passed_over = True
        return None

    def readmit(self) -> int:
        """Put those who were passed over and can take messages again behind the others, as RabbitMQ does."""
        consumer: Consumer
        again: list[Consumer] = []
        self.passed_over = False
        for consumer in self.consumers[self._turn :] + self.consumers[: self._turn]:
            if consumer.passed_over:
                if consumer.can_take():
                    again.append(consumer)
                else:
                    self.passed_over = True
        for consumer in again:
            consumer.passed_over = False
            if len(self.consumers) > 1 and not self._ranked and not self.single:
                self._withdraw(consumer)
                self._insert(consumer)
        return 0

    def _withdraw(self, consumer: Consumer) -> None:
        index = self.consumers.index(consumer)
        del self.consumers[index]
        if index < self._turn:
            self._turn -= 1

    def _next_by_rank(self) -> Consumer | None:
        consumer: Consumer
        if self.single:
            if self.active is not None and cython.cast(Consumer, self.active).can_take():
                return self.active
            return None
        for index in range(len(self.consumers)):
            consumer = self.consumers[index]
            if consumer.can_take():
                # Behind the others of its priority: they take turns.
                del self.consumers[index]
                self._insert(consumer)
                return consumer
        return None
