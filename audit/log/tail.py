"""The first look at a stored log: whether its newest records hang together.

A whole verification of a long log takes too long for a start, and is the business of a child process (D9).
What a start must know is that it continues an unbroken end, from the right place of the tree.
"""

from audit.errors import LogDamaged, RecordInvalid
from audit.log.merkle import TILE_HEIGHT, leaf_hash, perfect_root
from audit.log.record import NO_PREV, Record
from audit.log.store import LogStore

_TILE = 1 << TILE_HEIGHT


def check_tail(store: LogStore, size: int) -> str:
    """Check the newest records' bytes, leaf hashes, numbers and links, and the newest stored node.

    Args:
        store: the log.
        size: its number of records.

    Returns:
        The leaf hash of the last record in hex: `prev` of the next.

    Raises:
        LogDamaged: they do not fit together.
    """
    first = max(0, size - _TILE)
    prev = store.hashes(0, first - 1, 1)[0].hex() if first else NO_PREV
    leaves = store.hashes(0, first, size - first)
    for seq, (data, leaf) in enumerate(zip(store.bodies(first, size - first), leaves, strict=True), first):
        try:
            record = Record.parse(data)
        except RecordInvalid as error:
            raise _damaged(seq) from error
        if leaf_hash(data) != leaf or record.seq != seq or record.prev != prev:
            raise _damaged(seq)
        prev = leaf.hex()
    tiles = size // _TILE
    if tiles:
        newest = perfect_root(store.hashes(0, (tiles - 1) * _TILE, _TILE))
        if [newest] != store.hashes(TILE_HEIGHT, tiles - 1, 1):
            raise LogDamaged(
                "The log's stored tree does not fit its leaves.", "Run `strongroom audit verify`."
            )
    return prev


def _damaged(seq: int) -> LogDamaged:
    return LogDamaged(
        f"Record {seq} of the stored log does not fit its place.", "Run `strongroom audit verify`."
    )
