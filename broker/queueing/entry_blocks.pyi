class EntryBlocks:
    """Entries of 24 octets, sorted by position, in blocks of up to 1024.

    What is removed leaves a hole until its block is half empty; sparse neighbours become one block. Who adds an entry
    counts it, and who empties one calls ``_trim`` or ``_remove_block``.
    """

    count: int
