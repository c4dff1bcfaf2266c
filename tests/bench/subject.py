"""What every subject gets: a folder on the disk that sites lie on, the scale, and somebody to tell."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.row import Row

#: QEMU can enter it, and it lies on the disk that a site's log and guests lie on.
_PLACE = Path("/var/lib/strongroom")


class NotMeasured(Exception):
    """A row cannot be measured on this host; the sentence says why. Never taken for a row that holds."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how to measure.

    Attributes:
        folder: an empty folder, gone afterwards.
        full: whether the rows of ten million records are wanted.
        say: told what is being done.
    """

    folder: Path
    full: bool
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """Measures some rows together.

    Attributes:
        ids: the rows, in the order of the table.
        measure: measures those of the given ids.
        only_full: whether it is measured only at full scale.
    """

    ids: tuple[str, ...]
    measure: Callable[[Setting, frozenset[str]], Iterator[Row]]
    only_full: bool = False


@contextmanager
def bench_folder() -> Iterator[Path]:
    """A folder of its own, removed afterwards."""
    folder = _PLACE / f"bench-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
