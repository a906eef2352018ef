from broker.durability.queue_log import VirtualHostJournal
from broker.queueing.contents import QueueContents
from storage.fetcher import Fetch

def take_in(fetch: Fetch, contents: QueueContents, journal: VirtualHostJournal) -> list[tuple[int, int, int, int]]:
    """Give a queue the messages that were read back for it, as far as it still waits for them.

    Returns what could not be read, as (position, location, ``FetchStatus``, errno).
    """
