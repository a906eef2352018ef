"""The class tx (specification, section 1.9)."""

from collections.abc import Callable
from typing import Any

from broker.session.transaction import Transaction
from protocol.amqp.errors import precondition_failed
from protocol.amqp.methods import TxCommit, TxCommitOk, TxRollback, TxRollbackOk, TxSelect, TxSelectOk


def select(channel: Any, method: TxSelect) -> None:  # noqa: ARG001
    """Make the channel transactional."""
    if channel.confirms is not None:
        raise precondition_failed("cannot switch from confirm to tx mode")
    if channel.transaction is None:
        channel.transaction = Transaction(channel)
    channel.reply(TxSelectOk())


def commit(channel: Any, method: TxCommit) -> None:  # noqa: ARG001
    """Commit; the answer comes when it is on disk."""

    def committed(batch: int) -> None:
        if channel.is_open:
            channel.reply(TxCommitOk(), batch)

    _transaction(channel).commit(committed)


def rollback(channel: Any, method: TxRollback) -> None:  # noqa: ARG001
    """Roll back."""
    _transaction(channel).rollback()
    channel.reply(TxRollbackOk())


def _transaction(channel: Any) -> Transaction:
    transaction: Transaction | None = channel.transaction
    if transaction is None:
        raise precondition_failed("channel is not transactional")
    return transaction


HANDLERS: dict[Any, Callable[[Any, Any], None]] = {TxSelect: select, TxCommit: commit, TxRollback: rollback}
