"""aio-pika: robust connections, confirms, iterators and transactions."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import aio_pika
import pytest
from aio_pika.exceptions import ChannelNotFoundEntity, DeliveryError

from tests.support.raw_client import Address


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, timeout=30))


def test_publish_and_consume(address: Address, name: str) -> None:
    async def main() -> None:
        async with await aio_pika.connect_robust(host=address[0], port=address[1]) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=10)
            exchange = await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, auto_delete=True)
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(exchange, "a.*")
            for number in range(30):
                message = aio_pika.Message(str(number).encode(), headers={"number": number})
                await exchange.publish(message, "a.b" if number % 2 else "b.a", mandatory=False)
            received = []
            async with queue.iterator(timeout=10) as messages:
                async for incoming in messages:
                    async with incoming.process():
                        received.append(incoming.headers["number"])
                    if len(received) == 15:
                        break
            assert received == list(range(1, 30, 2))

    run(main())


def test_an_unroutable_message_raises(address: Address, name: str) -> None:
    async def main() -> None:
        async with await aio_pika.connect_robust(host=address[0], port=address[1]) as connection:
            channel = await connection.channel(on_return_raises=True)
            with pytest.raises(DeliveryError):
                await channel.default_exchange.publish(aio_pika.Message(b"m"), name)

    run(main())


def test_many_publishes_at_once_are_confirmed(address: Address, name: str) -> None:
    async def main() -> None:
        async with await aio_pika.connect_robust(host=address[0], port=address[1]) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(name, durable=True)
            persistent = aio_pika.DeliveryMode.PERSISTENT
            messages = [aio_pika.Message(str(number).encode(), delivery_mode=persistent) for number in range(300)]
            await asyncio.gather(*(channel.default_exchange.publish(message, name) for message in messages))
            assert (await queue.delete(if_empty=False)).message_count == 300

    run(main())


def test_a_refusal_is_an_exception(address: Address, name: str) -> None:
    async def main() -> None:
        async with await aio_pika.connect_robust(host=address[0], port=address[1]) as connection:
            channel = await connection.channel()
            with pytest.raises(ChannelNotFoundEntity, match=f"no queue '{name}' in vhost '/'"):
                await channel.get_queue(name, ensure=True)

    run(main())


def test_transactions(address: Address, name: str) -> None:
    async def main() -> None:
        async with await aio_pika.connect_robust(host=address[0], port=address[1]) as connection:
            channel = await connection.channel(publisher_confirms=False)
            queue = await channel.declare_queue(name, exclusive=True)
            async with channel.transaction():
                await channel.default_exchange.publish(aio_pika.Message(b"committed"), name)
            transaction = channel.transaction()
            await transaction.select()
            await channel.default_exchange.publish(aio_pika.Message(b"rolled back"), name)
            await transaction.rollback()
            message = await queue.get(no_ack=True, timeout=10)
            assert message is not None
            assert message.body == b"committed"
            assert await queue.get(no_ack=True, fail=False) is None

    run(main())
