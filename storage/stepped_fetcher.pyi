from storage.fetcher import Fetcher

class SteppedFetcher(Fetcher):
    """Reads records back as ``Fetcher`` does, in the thread that calls ``step``."""

    @property
    def can_step(self) -> bool: ...
    def step(self) -> None: ...
