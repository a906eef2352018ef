from storage.replayer import Replayer

def summarize_segment(
    data: bytes, offset: int, seed: int, epoch: int, replayer: Replayer
) -> tuple[bytes, int, int, int, int, int, int]: ...
