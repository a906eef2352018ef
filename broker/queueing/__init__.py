"""The queue and what it is made of: messages, ready, requeued, consumers, unacknowledged deliveries."""
