"""A small log with real keys whose records tests choose, and a real witness for it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from audit.log.checkpoint import Checkpoint
from audit.log.cosignature import CosigningKey
from audit.log.merkle import Frontier, TreeHead, leaf_hash, root_of
from audit.log.note import Note, VerifierKey
from audit.log.proof_files import ConsistencyFile
from audit.log.proofs import StoredTree
from audit.log.signing_key import LogKey
from audit.witness.store import WitnessStore

ORIGIN = "strongroom.example/log"
WITNESS = "witness.example/w1"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@dataclass
class SmallLog:
    """A log of `count` records; one with another `history` has other records from `fork_at` on."""

    key: LogKey
    count: int = 300
    history: str = ""
    fork_at: int = 0
    origin: str = field(default=ORIGIN)

    @cached_property
    def leaves(self) -> list[bytes]:
        return [
            leaf_hash(f"{self.history if number >= self.fork_at else ''}{number}".encode())
            for number in range(self.count)
        ]

    @cached_property
    def _stored(self) -> dict[tuple[int, int], bytes]:
        hashes = {(0, index): leaf for index, leaf in enumerate(self.leaves)}
        return hashes | {(node.level, node.index): node.hash for node in Frontier().extend(self.leaves)}

    def read(self, level: int, first: int, count: int) -> list[bytes]:
        return [self._stored[level, index] for index in range(first, first + count)]

    def head(self, size: int) -> TreeHead:
        return TreeHead(size, root_of(self.leaves[:size]))

    def checkpoint(self, size: int) -> bytes:
        return Checkpoint(self.origin, self.head(size)).sign([self.key])

    def request(self, old: int, size: int) -> bytes:
        path = StoredTree(size, self.read).consistency(old)
        return bytes(ConsistencyFile(old, tuple(path), self.checkpoint(size)))


@dataclass
class Watch:
    """A witness in a folder, which trusts the log."""

    folder: Path

    @cached_property
    def log_key(self) -> LogKey:
        return LogKey.create(self.folder / "log.key", ORIGIN)

    @cached_property
    def log(self) -> SmallLog:
        return SmallLog(self.log_key)

    @cached_property
    def key(self) -> CosigningKey:
        return CosigningKey.create(self.folder / "witness.key", WITNESS)

    @cached_property
    def store(self) -> WitnessStore:
        store = WitnessStore.create(self.folder / "witness.db")
        store.trust(VerifierKey.parse(self.log_key.vkey))
        return store

    def ask(self, request: bytes, at: datetime = NOW) -> bytes:
        return self.store.cosign(request, self.key, at)

    def last_size(self) -> int | None:
        return self.store.logs()[0].size


def with_line(note: bytes, line: bytes) -> Note:
    """A note with one more signature line."""
    return Note.parse(note + line)
