"""What the broker is called where RabbitMQ would name a node."""

import socket

NODE = f"haypile@{socket.gethostname().partition('.')[0]}"
