class OutputBuffer:
    """What a connection still has to send. It owns no memory while it is empty.

    Octets are copied into it, but for large bodies, which are kept alive and sent from where they are.
    """

    size_bytes: int
    def heartbeat(self) -> None:
        """Append a heartbeat frame."""
    def octets(self, data: bytes) -> None:
        """Append ``data`` as it is (the protocol header)."""
    def method(self, channel: int, payload: bytes) -> None:
        """Append a method frame. ``payload`` starts with the class id."""
    def content(self, channel: int, method: bytes, header: bytes, body: bytes, frame_max: int) -> None:
        """Append a method that carries content, its content header and its body in frames of ``frame_max`` at most.

        ``frame_max`` counts whole frames, as negotiated; 0 is no limit.
        """
    def deliver(
        self,
        channel: int,
        consumer_tag: bytes,
        delivery_tag: int,
        redelivered: bool,
        address: bytes,
        header: bytes,
        body: bytes,
        frame_max: int,
    ) -> None:
        """Append a basic.deliver with its content.

        ``consumer_tag`` and ``address`` (exchange and routing key) are short strings in wire form.
        """

    # The same for compiled callers, without the cost of a Python call.
    def put_heartbeat(self) -> int: ...
    def put_method(self, channel: int, payload: bytes) -> int: ...
    def put_acknowledgement(self, channel: int, method: int, delivery_tag: int, flags: int) -> int: ...
    def put_content(self, channel: int, method: bytes, header: bytes, body: bytes, frame_max: int) -> int: ...
    def put_deliver(
        self,
        channel: int,
        consumer_tag: bytes,
        delivery_tag: int,
        redelivered: bool,
        address: bytes,
        header: bytes,
        body: bytes,
        frame_max: int,
    ) -> int: ...
    def piece(self, size_max: int) -> bytes | memoryview: ...
    def consume(self, size: int) -> None: ...
    def release(self) -> None: ...
    def take(self) -> bytes:
        """Return everything and leave the buffer empty."""
    def take_parts(self) -> list[bytes | memoryview]:
        """Return everything as a list of buffers and leave this one empty; large bodies are not copied."""
