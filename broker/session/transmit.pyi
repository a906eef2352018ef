"""Sending an output buffer over a plain socket without a copy; only compiled code can call it."""

from protocol.amqp.writer import OutputBuffer

def transmit(descriptor: int, output: OutputBuffer) -> int: ...
