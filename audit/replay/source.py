"""The two places a log is replayed from: its database, and an export that an auditor took away."""

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from audit.errors import LogDamaged, VerificationImpossible
from audit.log.query import LogQuery
from audit.log.shape import MAX_RECORD_BYTES
from audit.replay.decisions import replay
from audit.replay.recorded import Span
from audit.verify.files import Damaged, ExportFiles, open_files
from audit.verify.lines import BadLine, Lines
from audit.verify.report import Progress, Report

_MAX_POLICY_BYTES = 1 << 22


def replay_store(path: Path, span: Span, progress: Progress | None = None) -> Report:
    """Replay the decisions in a log's database, also while its daemon runs.

    Raises:
        VerificationFailed: a decision does not come out as it was recorded, or cannot be made again.
        LogUnavailable: the database cannot be read.
        LogDamaged: it is not a log's database.
    """
    with LogQuery(path) as log:
        return replay(StoredDecisions(log), span, progress)


def replay_export(path: Path, span: Span, progress: Progress | None = None) -> Report:
    """Replay the decisions in an export, a folder or a tar. Verify it too: a replay trusts its records.

    Raises:
        VerificationFailed: a decision does not come out as it was recorded, or cannot be made again.
        NotAnExport: there is no export at this path.
        VerificationImpossible: it could not be read to its end.
    """
    try:
        with open_files(path) as files, _Exported(files) as exported:
            return replay(exported, span, progress)
    except (Damaged, tarfile.TarError, BadLine) as error:
        raise VerificationImpossible(
            "The export is damaged, so that its decisions cannot be read.", "Verify it without --replay."
        ) from error
    except OSError as error:
        raise VerificationImpossible(
            f"The export cannot be read: {error.strerror}.", "Look at the disk, and try again."
        ) from error


class StoredDecisions:
    """The records of a log's database, or some of them; a `Recorded`.

    Args:
        log: the database, open.
        first: number of the first record.
        end: number after the last; None for all there are.
    """

    def __init__(self, log: LogQuery, first: int = 0, end: int | None = None) -> None:
        self._log = log
        self.first = first
        self._end = end

    def records(self) -> Iterator[bytes]:
        """The records' bytes in order."""
        return self._log.raw(self.first, self._end)

    def size(self) -> int:
        """How many there are."""
        return (self._log.size() if self._end is None else self._end) - self.first

    def inputs(self, digests: Sequence[str]) -> Mapping[str, bytes]:
        """The policy inputs stored under some digests."""
        return self._log.inputs_by_digest(digests)

    def bundle(self, digest: str) -> Mapping[str, bytes]:
        """The files of a policy bundle."""
        return self._log.bundle(digest)


class _Exported:
    """An export's records, and an index of where each policy input lies."""

    first = 0

    def __init__(self, files: ExportFiles) -> None:
        self._files = files
        self._stack = ExitStack()
        self._places: dict[bytes, tuple[int, int]] = {}
        self._inputs: IO[bytes] | None = None

    def __enter__(self) -> Self:
        if "inputs.jsonl" in self._files.names:
            with self._files.open("inputs.jsonl") as file:
                position = 0
                for lines in Lines(file):
                    for line in lines:
                        self._places[sha256(line).digest()] = (position, len(line))
                        position += len(line) + 1
            self._inputs = self._stack.enter_context(self._files.open("inputs.jsonl"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def records(self) -> Iterator[bytes]:
        if "records.jsonl" not in self._files.names:
            raise LogDamaged("The export has no records.", "Verify it without --replay.")
        with self._files.open("records.jsonl") as file:
            for lines in Lines(file):
                yield from lines

    def size(self) -> int:
        return 0

    def inputs(self, digests: Sequence[str]) -> Mapping[str, bytes]:
        found = {}
        for digest in digests:
            place = self._places.get(bytes.fromhex(digest))
            if place is not None and self._inputs is not None:
                self._inputs.seek(place[0])
                found[digest] = self._inputs.read(min(place[1], MAX_RECORD_BYTES))
        return found

    def bundle(self, digest: str) -> Mapping[str, bytes]:
        prefix = f"policies/{digest}/"
        found = {}
        for name in self._files.names:
            if name.startswith(prefix):
                with self._files.open(name) as file:
                    found[name.removeprefix(prefix)] = file.read(_MAX_POLICY_BYTES)
        return found
