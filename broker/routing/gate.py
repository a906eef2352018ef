"""What a queue wants to be done before a message is put into it. What is higher includes what is lower."""

OPEN = 0
"""Nothing."""

STAMPS = 1
"""The message gets the time of its publish."""

ASKS = 2
"""The queue, or the exchange, is asked whether it takes the message."""
