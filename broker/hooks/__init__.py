"""What looks at messages and at events beside their way: the firehose, the event exchange, and interceptors."""
