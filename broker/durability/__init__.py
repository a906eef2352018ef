"""What the broker writes into the journal, and how it is replayed."""
