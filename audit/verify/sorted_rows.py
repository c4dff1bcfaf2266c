"""Sorting more rows than fit in memory: what lets a verifier find a repeated id in any log with flat memory."""

import heapq
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, Self

#: Rows held before they are sorted and put into a temporary file; some tens of MB.
_ROWS_IN_MEMORY = 1 << 18

_ROWS_PER_READ = 1 << 12


class SortedRows:
    """Takes rows of bytes of one width in any order, gives them back sorted. A context manager.

    Args:
        width_bytes: width of each row.
        rows_in_memory: how many rows to hold.
    """

    def __init__(self, width_bytes: int, rows_in_memory: int = _ROWS_IN_MEMORY) -> None:
        self._width_bytes = width_bytes
        self._rows_in_memory = rows_in_memory
        self._rows: list[bytes] = []
        self._runs: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs:
            run.close()

    def extend(self, rows: list[bytes]) -> None:
        """Add rows."""
        self._rows += rows
        if len(self._rows) >= self._rows_in_memory:
            self._rows.sort()
            run = TemporaryFile("w+b")  # noqa: SIM115 - closed by __exit__
            self._runs.append(run)
            run.write(b"".join(self._rows))
            self._rows = []

    def __iter__(self) -> Iterator[bytes]:
        self._rows.sort()
        return heapq.merge(self._rows, *(self._read(run) for run in self._runs))

    def _read(self, run: IO[bytes]) -> Iterator[bytes]:
        run.seek(0)
        width = self._width_bytes
        while block := run.read(width * _ROWS_PER_READ):
            for start in range(0, len(block), width):
                yield block[start : start + width]
