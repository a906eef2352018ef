"""Scenarios written by hand, one module per group."""

from tests.differential.scenarios import (
    acknowledging,
    arguments,
    bindings,
    consuming,
    dead_letter_headers,
    dead_lettering,
    declaring,
    limits,
    priorities,
    publishing,
    quorum,
    reply_to,
    routing_extensions,
    transactions,
    ttl,
)
from tests.differential.steps import Scenario

GROUPS: dict[str, list[Scenario]] = {
    module.__name__.rpartition(".")[2]: module.SCENARIOS
    for module in (
        acknowledging,
        arguments,
        bindings,
        consuming,
        dead_letter_headers,
        dead_lettering,
        declaring,
        limits,
        priorities,
        publishing,
        quorum,
        reply_to,
        routing_extensions,
        transactions,
        ttl,
    )
}
