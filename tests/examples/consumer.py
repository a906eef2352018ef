"""Works through the orders queue, acknowledging each when done, until it has been idle for a second.

usage: consumer.py [HOST] [PORT]
"""

import json
import sys

import pika

host = sys.argv[1] if len(sys.argv) > 1 else "localhost"
port = int(sys.argv[2]) if len(sys.argv) > 2 else 5672

connection = pika.BlockingConnection(pika.ConnectionParameters(host, port))
channel = connection.channel()
channel.queue_declare(queue="orders", durable=True)
channel.basic_qos(prefetch_count=20)

orders = []
for method, properties, body in channel.consume("orders", inactivity_timeout=1):
    if method is None:
        break
    assert properties.content_type == "application/json"
    assert properties.headers["source"] == "shop"
    orders.append(json.loads(body)["order"])
    channel.basic_ack(method.delivery_tag)

assert orders == sorted(orders), "out of order"
print(f"worked through {len(orders)}")
connection.close()
