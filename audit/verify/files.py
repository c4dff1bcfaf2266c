"""An export's files, in a folder or in a tar, and nothing outside of it. Nothing is unpacked."""

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from audit.errors import NotAnExport

#: Files every export has. That one is missing is a finding; that all are is another thing than an export.
REQUIRED = ("manifest.json", "checkpoint", "log.vkey", "epochs.jsonl", "inputs.jsonl", "records.jsonl")

_HINT = "Give the folder or the tar that `strongroom audit export` made."

#: Most files looked at: an export has a handful for each policy bundle, tiles two for each 256 records.
_MAX_FILES = 100_000
_MAX_TILE_FILES = 10_000_000


class ExportFiles(Protocol):
    """Files by relative name."""

    @property
    def names(self) -> frozenset[str]:
        """Names, with `/` between folders."""

    def open(self, name: str) -> IO[bytes]:
        """Open one for reading."""


class Damaged(Exception):
    """The archive ends in the middle."""


@contextmanager
def open_files(path: Path) -> Iterator[ExportFiles]:
    """Open an export.

    Raises:
        NotAnExport: it is neither a folder nor a tar with an export's files, or a name in it leads elsewhere.
        Damaged: it is a tar that ends in the middle.
    """
    with _opened(path, _MAX_FILES) as files:
        if files.names.isdisjoint({"manifest.json", "checkpoint", "records.jsonl"}):
            raise NotAnExport("There is no log export here.", _HINT)
        yield files


@contextmanager
def open_tiles(path: Path) -> Iterator[ExportFiles]:
    """Open a folder or tar of C2SP tlog-tiles; raises as `open_files`."""
    with _opened(path, _MAX_TILE_FILES) as files:
        if "checkpoint" not in files.names:
            raise NotAnExport("There are no tiles of a log here: there is no checkpoint.", _HINT)
        yield files


def has_tiles(path: Path) -> bool:
    """Whether what lies there are tiles, rather than an export of records."""
    if path.is_dir():
        return (path / "tile").is_dir() and not (path / "records.jsonl").exists()
    try:
        with path.open("rb") as file:
            names = _Tar(file, _MAX_TILE_FILES).names
    except (OSError, NotAnExport, Damaged):
        return False
    return "records.jsonl" not in names and any(name.startswith("tile/") for name in names)


@contextmanager
def _opened(path: Path, max_files: int) -> Iterator[ExportFiles]:
    if path.is_dir():
        yield _Folder(path, max_files)
    elif path.is_file():
        with path.open("rb") as file:
            yield _Tar(file, max_files)
    else:
        raise NotAnExport("There is no folder and no file with this name.", _HINT)


class _Folder:
    def __init__(self, path: Path, max_files: int) -> None:
        self._path = path
        self._max_files = max_files
        self.names = frozenset(self._walk())

    def _walk(self) -> Iterator[str]:
        def fail(error: OSError) -> None:
            raise error

        count = 0
        for directory, _, names in os.walk(self._path, onerror=fail):
            for name in names:
                count += 1
                if count > self._max_files:
                    raise NotAnExport("The folder holds more files than any export.", _HINT)
                yield (Path(directory) / name).relative_to(self._path).as_posix()

    def open(self, name: str) -> IO[bytes]:
        # A link could lead to a file that nobody meant to be read.
        descriptor = os.open(self._path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        return os.fdopen(descriptor, "rb")


class _Tar:
    def __init__(self, file: IO[bytes], max_files: int) -> None:
        try:
            self._tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - lives as long as the file below it
        except tarfile.TarError as error:
            raise NotAnExport("The file is not a tar.", _HINT) from error
        try:
            members = self._tar.getmembers()
        except (tarfile.TarError, EOFError) as error:
            raise Damaged from error
        self._members: dict[str, tarfile.TarInfo] = {}
        for member in members:
            if member.isdir():
                continue
            name = PurePosixPath(member.name)
            if not member.isreg() or name.is_absolute() or ".." in name.parts or len(members) > max_files:
                raise NotAnExport(
                    "The tar holds something that no export holds: a link, or a name outside it.", _HINT
                )
            if str(name) in self._members:
                raise NotAnExport("The tar holds two files with one name.", _HINT)
            self._members[str(name)] = member
        self._unwrap()
        self.names = frozenset(self._members)

    def _unwrap(self) -> None:
        """Look into the one folder that people's own `tar` puts around the files."""
        tops = {name.partition("/")[0] for name in self._members}
        if len(tops) == 1 and not any(name in self._members for name in REQUIRED):
            self._members = {name.partition("/")[2]: member for name, member in self._members.items()}

    def open(self, name: str) -> IO[bytes]:
        file = self._tar.extractfile(self._members[name])
        if file is None:
            raise NotAnExport("The tar holds something that is not a file.", _HINT)
        return file
