"""What the broker counts while it works; read by the metrics end point."""


class Counters:
    """Totals since the broker started. They only grow."""

    def __init__(self) -> None:
        self.connections_opened = 0
        self.connections_closed = 0
        self.channels_opened = 0
        self.channels_closed = 0
        self.queues_declared = 0
        self.queues_created = 0
        self.queues_deleted = 0
        self.messages_received = 0
        self.messages_received_confirm = 0
        self.messages_routed = 0
        self.messages_confirmed = 0
        self.messages_unroutable_dropped = 0
        self.messages_unroutable_returned = 0
        self.messages_delivered = 0
        self.messages_delivered_consume_auto_ack = 0
        self.messages_delivered_consume_manual_ack = 0
        self.messages_delivered_get_auto_ack = 0
        self.messages_delivered_get_manual_ack = 0
        self.messages_get_empty = 0
        self.messages_redelivered = 0
        self.messages_acknowledged = 0
        self.messages_dead_lettered_rejected = 0
        self.messages_dead_lettered_expired = 0
        self.messages_dead_lettered_maxlen = 0
        self.messages_dead_lettered_delivery_limit = 0
        self.messages_deduplicated = 0
        self.messages_quarantined = 0
        self.page_reads_retried = 0
        self.tls_handshakes_failed = 0
        self.bytes_received = 0
        self.bytes_sent = 0
