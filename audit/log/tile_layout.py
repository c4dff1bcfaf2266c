"""How C2SP tlog-tiles lays a log out in files: which hashes stand in which tile, and what it is called."""

from collections.abc import Iterator, Sequence

from audit.log.merkle import perfect_root
from audit.log.proofs import TILE_WIDTH

#: Bytes before each entry of a bundle that say how long it is, and so the longest entry.
ENTRY_LENGTH_BYTES = 2
MAX_ENTRY_BYTES = (1 << 8 * ENTRY_LENGTH_BYTES) - 1


class Tiling:
    """Cuts the hashes of a growing tree into tiles, in flat memory."""

    def __init__(self) -> None:
        self._waiting: list[list[bytes]] = []
        self._finished: list[int] = []

    def extend(self, leaves: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
        """Add leaf hashes; gives path and content of each tile that is full now."""
        yield from self._add(0, leaves)

    def rest(self) -> Iterator[tuple[str, bytes]]:
        """Path and content of the partial tiles at the tree's right edge."""
        for level, hashes in enumerate(self._waiting):
            if hashes:
                yield hashes_path(level, self._finished[level], len(hashes)), b"".join(hashes)

    def _add(self, level: int, hashes: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
        if level == len(self._waiting):
            self._waiting.append([])
            self._finished.append(0)
        for each in hashes:
            waiting = self._waiting[level]
            waiting.append(each)
            if len(waiting) == TILE_WIDTH:
                yield hashes_path(level, self._finished[level], TILE_WIDTH), b"".join(waiting)
                self._finished[level] += 1
                self._waiting[level] = []
                yield from self._add(level + 1, [perfect_root(waiting)])


def hashes_path(level: int, number: int, width: int) -> str:
    """Path of a tile of hashes.

    Args:
        level: the tile's level: of whole tiles, `TILE_HEIGHT` levels of the tree each.
        number: its place in the level.
        width: hashes in it.
    """
    return f"tile/{level}/{_place(number, width)}"


def entries_path(number: int, width: int) -> str:
    """Path of a bundle of entries; arguments as for `hashes_path`."""
    return f"tile/entries/{_place(number, width)}"


def _place(number: int, width: int) -> str:
    # Three digits an element, an x before all but the last: folders never grow beyond a thousand names.
    last, parts = f"{number % 1000:03}", []
    while number := number // 1000:
        parts.append(f"x{number % 1000:03}/")
    return "".join(reversed(parts)) + last + ("" if width == TILE_WIDTH else f".p/{width}")
