"""The class exchange (specification, section 1.6), with RabbitMQ's bindings between exchanges."""

from collections.abc import Callable
from typing import Any

from broker.equivalence import OWN_EXCHANGE_ARGUMENTS, check_argument, check_flag, inequivalent
from broker.routing.alternates import ALTERNATE_EXCHANGE
from broker.routing.exchange import Binding
from broker.routing.exchange_type import InvalidDefinitionError
from broker.routing.registry import find_exchange_type
from broker.session.names import (
    RESERVED_PREFIX,
    check_permission,
    clean,
    exchange_resource,
    refuse_default_exchange,
)
from protocol.amqp.erlang_term import format_type
from protocol.amqp.errors import access_refused, precondition_failed
from protocol.amqp.methods import (
    ExchangeBind,
    ExchangeBindOk,
    ExchangeDeclare,
    ExchangeDeclareOk,
    ExchangeDelete,
    ExchangeDeleteOk,
    ExchangeUnbind,
    ExchangeUnbindOk,
)


def declare(channel: Any, method: ExchangeDeclare) -> None:
    """Declare an exchange, or check that it is there and means the same."""
    name = clean(method.exchange)
    resource = exchange_resource(channel, name)
    batch = 0
    if method.passive:
        refuse_default_exchange(name)
        channel.vhost.find_exchange(name)
    else:
        if not method.type:
            raise precondition_failed("invalid exchange type ''")
        try:
            find_exchange_type(method.type)
        except InvalidDefinitionError as error:
            raise precondition_failed(str(error)) from None
        refuse_default_exchange(name)
        check_permission(channel, "configure", resource, name)
        exchange = channel.vhost.exchanges.get(name)
        if exchange is not None:
            if exchange.type.name != method.type:
                raise inequivalent("type", resource, f"'{method.type}'", f"'{exchange.type.name}'")
            check_flag("durable", resource, method.durable, exchange.durable)
            check_flag("auto_delete", resource, method.auto_delete, exchange.auto_delete)
            check_flag("internal", resource, method.internal, exchange.internal)
            for argument in (ALTERNATE_EXCHANGE, *OWN_EXCHANGE_ARGUMENTS):
                check_argument(argument, resource, method.arguments, exchange.arguments)
        else:
            if name.startswith(RESERVED_PREFIX):
                raise access_refused(f"exchange name '{name}' contains reserved prefix 'amq.*'")
            alternate = method.arguments.get(ALTERNATE_EXCHANGE, "")
            if not isinstance(alternate, str):
                text = f"invalid type '{format_type(alternate)}' for arg '{ALTERNATE_EXCHANGE}' in {resource}"
                raise precondition_failed(text)
            if ALTERNATE_EXCHANGE in method.arguments:
                check_permission(channel, "read", resource, name)
                check_permission(channel, "write", exchange_resource(channel, alternate), alternate)
            try:
                batch = channel.vhost.declare_exchange(
                    name,
                    method.type,
                    durable=method.durable,
                    auto_delete=method.auto_delete,
                    internal=method.internal,
                    arguments=dict(method.arguments),
                )
            except InvalidDefinitionError as error:
                raise precondition_failed(str(error)) from None
    if not method.nowait:
        channel.reply(ExchangeDeclareOk(), batch)


def delete(channel: Any, method: ExchangeDelete) -> None:
    """Delete an exchange; one that is not there is deleted already."""
    name = clean(method.exchange)
    resource = exchange_resource(channel, name)
    refuse_default_exchange(name)
    if name.startswith(RESERVED_PREFIX):
        raise access_refused(f"deletion of system {resource} not allowed")
    check_permission(channel, "configure", resource, name)
    exchange = channel.vhost.exchanges.get(name)
    batch = 0
    if exchange is not None:
        if method.if_unused and exchange.bindings:
            raise precondition_failed(f"{resource} in use")
        batch = channel.vhost.delete_exchange(exchange)
    if not method.nowait:
        channel.reply(ExchangeDeleteOk(), batch)


def bind(channel: Any, method: ExchangeBind) -> None:
    """Bind an exchange to another one."""
    destination, source = clean(method.destination), clean(method.source)
    refuse_default_exchange(destination)
    refuse_default_exchange(source)
    check_permission(channel, "write", exchange_resource(channel, destination), destination)
    check_permission(channel, "read", exchange_resource(channel, source), source)
    found = channel.vhost.find_exchange(source)
    binding = Binding(found, channel.vhost.find_exchange(destination), method.routing_key, dict(method.arguments))
    try:
        batch = channel.vhost.bind(binding)
    except InvalidDefinitionError as error:
        raise precondition_failed(str(error)) from None
    if not method.nowait:
        channel.reply(ExchangeBindOk(), batch)


def unbind(channel: Any, method: ExchangeUnbind) -> None:
    """Remove a binding between exchanges; one that is not there is removed already."""
    destination, source = clean(method.destination), clean(method.source)
    refuse_default_exchange(destination)
    refuse_default_exchange(source)
    check_permission(channel, "write", exchange_resource(channel, destination), destination)
    check_permission(channel, "read", exchange_resource(channel, source), source)
    found, bound = channel.vhost.exchanges.get(source), channel.vhost.exchanges.get(destination)
    batch = 0
    if found is not None and bound is not None:
        batch = channel.vhost.unbind(Binding(found, bound, method.routing_key, dict(method.arguments)))
    if not method.nowait:
        channel.reply(ExchangeUnbindOk(), batch)


HANDLERS: dict[Any, Callable[[Any, Any], None]] = {
    ExchangeDeclare: declare,
    ExchangeDelete: delete,
    ExchangeBind: bind,
    ExchangeUnbind: unbind,
}
