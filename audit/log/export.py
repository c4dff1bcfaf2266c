"""Log exports: all that an auditor needs to verify the log without us, as a folder or a tar (INTERFACES.md).

An export ends where its checkpoint says; what was appended since is not in it. It is written under another name
and renamed when it is whole, so a folder or tar with the wanted name is always a whole export.
"""

import errno
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from audit.errors import ExportFailed, LogDamaged, NoteInvalid, TargetExists
from audit.log import canonical
from audit.log.checkpoint import Checkpoint
from audit.log.durable import sync_directory, sync_file
from audit.log.merkle import TreeHead
from audit.log.note import VerifierKey
from audit.log.query import LogQuery

#: Told how many of how many records are written.
Progress = Callable[[int, int], None]

# `bundle` is the fourth member of a record, and no text before it can hold a quotation mark.
_BUNDLE = re.compile(rb',"bundle":"([0-9a-f]{64})"')

_LINES_PER_WRITE = 1000

#: How link(2) and rename(2) say that the target appeared meanwhile.
_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What was exported.

    Attributes:
        path: the folder or tar.
        origin: the log's identity.
        head: size and root of the checkpoint that it ends with.
        size_bytes: size of its files together.
    """

    path: Path
    origin: str
    head: TreeHead
    size_bytes: int


def export_log(
    database: Path, target: Path, *, as_tar: bool = False, progress: Progress | None = None
) -> ExportSummary:
    """Export the log up to its newest checkpoint. Have one signed before, so that nothing is missing.

    Args:
        database: the log's database.
        target: the folder or tar to make; its directory exists.
        as_tar: make a tar with the same files.
        progress: told how far it is.

    Raises:
        TargetExists: there is something with this name.
        ExportFailed: there is no checkpoint, or the export cannot be written.
        LogUnavailable: the log cannot be read.
        LogDamaged: a record is missing, or the checkpoint is not valid.
    """
    target = target.absolute()  # not resolved: a link in the last place is an existing target
    staging = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
    archive = staging.with_name(staging.name + ".tar")
    try:
        if os.path.lexists(target):
            raise _taken()
        staging.mkdir(mode=0o700)
        with LogQuery(database) as log:
            summary = _write_files(log, staging, target, progress)
        if as_tar:
            _pack(staging, archive)
            os.link(archive, target)  # unlike rename(2), it refuses to overwrite
        else:
            staging.rename(target)  # refuses whatever is not an empty folder
        sync_directory(target.parent)
    except OSError as error:
        if error.errno in _TAKEN:
            raise _taken() from error
        raise ExportFailed(
            f"The export cannot be written: {error.strerror}.", "Look at the target's directory and its disk."
        ) from error
    finally:
        archive.unlink(missing_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
    return summary


def _taken() -> TargetExists:
    return TargetExists("There is something with the export's name already.", "Choose another name.")


class _Folder:
    """A folder being written, and what its manifest will say."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digests: dict[str, str] = {}

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """Write a file, durable when this returns."""
        digest = sha256()
        path = self.path / name
        path.parent.mkdir(mode=0o700, exist_ok=True, parents=True)
        with path.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            for part in parts:
                digest.update(part)
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        self.digests[name] = digest.hexdigest()

    def finish(self) -> int:
        """Write the manifest, make all names durable; returns the size of the files together in bytes."""
        self.write("manifest.json", [canonical.encode({"files": dict(self.digests), "v": 1}) + b"\n"])
        for directory in (self.path, *(each for each in self.path.rglob("*") if each.is_dir())):
            sync_directory(directory)
        return sum((self.path / name).stat().st_size for name in self.digests)


def _write_files(log: LogQuery, staging: Path, target: Path, progress: Progress | None) -> ExportSummary:
    note = log.latest_checkpoint()
    if note is None:
        raise ExportFailed(
            "The log has no signed checkpoint yet.", "Run `strongroom audit checkpoint` first."
        )
    try:
        head = Checkpoint.verify(note, [VerifierKey.parse(log.vkey)]).head
    except NoteInvalid as error:
        raise LogDamaged(f"The log's stored checkpoint is not valid: {error.message}") from error
    folder = _Folder(staging)
    bundles: set[str] = set()
    folder.write("records.jsonl", _lines(_records(log, head.size, bundles, progress)))
    folder.write("inputs.jsonl", _lines(log.inputs(head.size)))
    (staging / "policies").mkdir(mode=0o700)
    for bundle in sorted(bundles):
        for name, data in log.bundle(bundle).items():
            folder.write(f"policies/{bundle}/{name}", [data])
    folder.write("checkpoint", [note])
    folder.write("epochs.jsonl", _lines(log.epoch_records(head.size)))
    folder.write("log.vkey", [f"{log.vkey}\n".encode()])
    return ExportSummary(target, log.origin, head, folder.finish())


def _records(log: LogQuery, size: int, bundles: set[str], progress: Progress | None) -> Iterator[bytes]:
    """The records' bytes in order; collects the policy bundles they name."""
    for seq, data in enumerate(log.raw(0, size), 1):
        found = _BUNDLE.search(data)
        if found is not None:
            bundles.add(found[1].decode())
        if progress is not None and (seq % _LINES_PER_WRITE == 0 or seq == size):
            progress(seq, size)
        yield data


def _lines(items: Iterator[bytes]) -> Iterator[bytes]:
    """Join items into lines, some at a time."""
    waiting: list[bytes] = []
    for item in items:
        waiting.append(item)
        if len(waiting) == _LINES_PER_WRITE:
            yield b"\n".join(waiting) + b"\n"
            waiting.clear()
    if waiting:
        yield b"\n".join(waiting) + b"\n"


def _pack(folder: Path, archive: Path) -> None:
    """Make a tar of the folder's files, without owners and times, so that equal exports are equal."""
    with tarfile.open(archive, "x", format=tarfile.PAX_FORMAT) as tar:
        archive.chmod(0o600)
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            member.size = path.stat().st_size
            member.mode = 0o600
            with path.open("rb") as file:
                tar.addfile(member, file)
    sync_file(archive)
