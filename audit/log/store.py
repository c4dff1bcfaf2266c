"""What the writer asks of a place to keep the log; SQLite is the one built, PostgreSQL may follow (D10)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from audit.log.merkle import Node
from audit.log.record import Record


@dataclass(frozen=True, slots=True)
class Inputs:
    """A policy input that the store does not hold yet.

    Attributes:
        digest: SHA-256 of the bytes, hex.
        first_seq: number of the record that names it first.
        data: canonical bytes.
    """

    digest: str
    first_seq: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit adds: consecutive records, the inputs and tree nodes that come with them."""

    records: Sequence[Record]
    inputs: Sequence[Inputs]
    nodes: Sequence[Node]


class LogStore(Protocol):
    """Keeps the log. Used by one thread at a time, and by one writer in the world.

    Every method raises `LogUnavailable` when the store cannot be reached, and `LogDamaged` when what it holds
    contradicts itself. After either from a writing method the caller must `reopen` before it writes again:
    the batch may have been stored or not.
    """

    @property
    def origin(self) -> str:
        """The log's identity, fixed when the log was made."""

    @property
    def vkey(self) -> str:
        """The log's verifier key, fixed when the log was made."""

    def size(self) -> int:
        """Number of records."""

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """Stored hashes of the tree, as `merkle.ReadHashes`."""

    def bodies(self, first: int, count: int) -> list[bytes]:
        """The bytes of consecutive records."""

    def open_intents(self) -> list[Record]:
        """The intents without outcome, oldest first, each checked against its leaf."""

    def has_id(self, record_id: str) -> bool:
        """Whether a record has this id."""

    def has_inputs(self, digest: str) -> bool:
        """Whether a policy input with this digest is stored."""

    def bundles(self) -> Collection[str]:
        """Digests of the stored policy bundles."""

    def epoch_record(self, end: int) -> Record | None:
        """The last record before number `end` that begins a key epoch, checked against its leaf."""

    def latest_checkpoint(self) -> tuple[int, bytes] | None:
        """Size and signed note of the newest checkpoint."""

    def commit(self, batch: Batch) -> None:
        """Add a batch. Writes must be durable once this returns."""

    def add_bundle(self, digest: str, files: Mapping[str, bytes]) -> None:
        """Add a policy bundle. Durable once this returns."""

    def add_checkpoint(self, size: int, note: bytes) -> None:
        """Add a signed checkpoint. Durable once this returns."""

    def add_cosignature(self, size: int, witness: str, at_posix_s: int, line: str) -> None:
        """Add a witness's signature line; one that is there already stays as it is. Durable once this returns."""

    def reopen(self) -> None:
        """Close what is open and open again, so that only what is really stored is seen."""

    def close(self) -> None:
        """Close; the store can be reopened."""
