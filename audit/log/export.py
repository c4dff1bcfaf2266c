"""Log exports: all that an auditor needs to verify the log without us, as a folder or a tar (INTERFACES.md).

An export ends where its checkpoint says; what was appended since is not in it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audit.errors import ExportFailed, LogDamaged, NoteInvalid
from audit.log import canonical
from audit.log.checkpoint import Checkpoint
from audit.log.merkle import TreeHead
from audit.log.new_folder import NewFolder, new_folder
from audit.log.note import VerifierKey
from audit.log.query import LogQuery

#: Told how many of how many records are written.
Progress = Callable[[int, int], None]

# `bundle` is the fourth member of a record, and no text before it can hold a quotation mark.
_BUNDLE = re.compile(rb',"bundle":"([0-9a-f]{64})"')

_LINES_PER_WRITE = 1000


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
    database: Path,
    target: Path,
    *,
    as_tar: bool = False,
    progress: Progress | None = None,
    size: int | None = None,
) -> ExportSummary:
    """Export the log up to its newest checkpoint, or that of a size. Have one signed before, so nothing is missing.

    Args:
        database: the log's database.
        target: the folder or tar to make; its directory exists.
        as_tar: make a tar with the same files.
        progress: told how far it is.
        size: records of the checkpoint to end with; None takes the newest.

    Raises:
        TargetExists: there is something with this name.
        ExportFailed: there is no checkpoint, or the export cannot be written.
        LogUnavailable: the log cannot be read.
        LogDamaged: a record is missing, or the checkpoint is not valid.
    """
    with new_folder(target, as_tar=as_tar) as folder, LogQuery(database) as log:
        note, head = checkpoint_to_end_with(log, size)
        _write_files(log, folder, note, head.size, progress)
        return ExportSummary(target.absolute(), log.origin, head, folder.size_bytes)


def checkpoint_to_end_with(log: LogQuery, size: int | None = None) -> tuple[bytes, TreeHead]:
    """The newest checkpoint, or the one of a size, as a signed note with its cosignatures; and its size and root.

    Raises:
        ExportFailed: there is none.
        LogDamaged: it is not valid.
    """
    if size is None:
        newest = log.latest_checkpoint()
        size = None if newest is None else _verified(log, newest).size
    note = None if size is None else log.checkpoint_of(size)
    if note is None:
        raise ExportFailed(
            "The log has no signed checkpoint yet.", "Run `strongroom audit checkpoint` first."
        )
    return note, _verified(log, note)


def _verified(log: LogQuery, note: bytes) -> TreeHead:
    try:
        return Checkpoint.verify(note, [VerifierKey.parse(log.vkey)]).head
    except NoteInvalid as error:
        raise LogDamaged(f"The log's stored checkpoint is not valid: {error.message}") from error


def _write_files(log: LogQuery, folder: NewFolder, note: bytes, size: int, progress: Progress | None) -> None:
    bundles: set[str] = set()
    folder.write("records.jsonl", _lines(_records(log, size, bundles, progress)))
    folder.write("inputs.jsonl", _lines(log.inputs(size)))
    folder.make("policies")
    for bundle in sorted(bundles):
        for name, data in log.bundle(bundle).items():
            folder.write(f"policies/{bundle}/{name}", [data])
    folder.write("checkpoint", [note])
    folder.write("epochs.jsonl", _lines(log.epoch_records(size)))
    folder.write("log.vkey", [f"{log.vkey}\n".encode()])
    folder.write("manifest.json", [canonical.encode({"files": dict(folder.digests), "v": 1}) + b"\n"])


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
