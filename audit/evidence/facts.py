"""Facts: what the vault must supply before evidence can be judged, frozen at one instant.

Audit may not import vault, so everything it has to know about the installation arrives here: measured, not
claimed (a disk's cipher is read from the file). The facts travel as one canonical JSON file into the child
process that makes a report (D9, D12), so the same file gives the same report on any machine.

Invariants: nothing secret is a fact (no key, no passphrase, no hash of one); missing is `None`, never a
default that looks like an answer; unknown fields are refused, so that a newer snapshot is not half-read by
an older reader.
"""

from datetime import datetime
from pathlib import Path
from typing import Protocol

import rfc8785
from pydantic import ValidationError

from audit.evidence.errors import SnapshotInvalid
from audit.evidence.fact import Fact
from audit.evidence.protected_facts import (
    Argon2Facts,
    DiskFacts,
    GuestFacts,
    HostMemoryFacts,
    KeyFacts,
    KeyStoreFacts,
)
from audit.evidence.site_facts import (
    AccountFacts,
    CanaryFacts,
    FileFacts,
    FindingFacts,
    ImageFacts,
    LogFacts,
    MadeReportFacts,
    NetworkFacts,
    PolicyFacts,
    ProofFacts,
    SettingsFacts,
    SignerFacts,
    SystemFacts,
    TransportFacts,
)

__all__ = [
    "FACTS_VERSION",
    "AccountFacts",
    "Argon2Facts",
    "CanaryFacts",
    "DiskFacts",
    "FactSource",
    "Facts",
    "FileFacts",
    "FindingFacts",
    "GuestFacts",
    "HostMemoryFacts",
    "ImageFacts",
    "KeyFacts",
    "KeyStoreFacts",
    "LogFacts",
    "MadeReportFacts",
    "NetworkFacts",
    "PolicyFacts",
    "ProofFacts",
    "SettingsFacts",
    "SignerFacts",
    "SystemFacts",
    "TransportFacts",
]

#: A snapshot's shape; a reader refuses any other.
FACTS_VERSION = 1
#: A site with a few thousand guests stays far below; more is a damaged or hostile file.
_MAX_SNAPSHOT_BYTES = 256 * 1024 * 1024


class Facts(Fact):
    """Everything a report is made from, beside the log itself.

    Attributes:
        findings, images, reports, network: None when they were not asked for, as in older snapshots.
    """

    system: SystemFacts
    guests: tuple[GuestFacts, ...]
    keys: tuple[KeyFacts, ...]
    key_store: KeyStoreFacts
    accounts: tuple[AccountFacts, ...]
    settings: SettingsFacts
    transport: TransportFacts
    memory: HostMemoryFacts
    policy: PolicyFacts
    log: LogFacts
    proofs: tuple[ProofFacts, ...] = ()
    findings: tuple[FindingFacts, ...] | None = None
    images: tuple[ImageFacts, ...] | None = None
    reports: tuple[MadeReportFacts, ...] | None = None
    network: NetworkFacts | None = None
    v: int = FACTS_VERSION

    def to_bytes(self) -> bytes:
        """The snapshot file: RFC 8785 canonical JSON, so that its digest names the facts."""
        return rfc8785.dumps(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, untrusted: bytes) -> "Facts":
        """Read a snapshot.

        Raises:
            SnapshotInvalid: not JSON, a field missing, unknown or of the wrong type, or another version.
        """
        try:
            facts = cls.model_validate_json(untrusted)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the document"
            raise SnapshotInvalid(
                f"The evidence snapshot cannot be read: {where}: {first['msg']}.", "Take a new snapshot."
            ) from error
        if facts.v != FACTS_VERSION:
            raise SnapshotInvalid(
                f"The evidence snapshot has version {facts.v}; this program reads version {FACTS_VERSION}.",
                "Use the version of Strongroom that made it.",
            )
        return facts

    @classmethod
    def read(cls, path: Path) -> "Facts":
        """Read a snapshot file.

        Raises:
            SnapshotInvalid: it cannot be opened, is far too large, or `from_bytes` refuses it.
        """
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_SNAPSHOT_BYTES + 1)
        except OSError as error:
            raise SnapshotInvalid(
                f"The evidence snapshot {path} cannot be opened: {error.strerror}.",
                "Name an existing snapshot file.",
            ) from error
        if len(data) > _MAX_SNAPSHOT_BYTES:
            raise SnapshotInvalid("The evidence snapshot is too large to be one.", "Take a new snapshot.")
        return cls.from_bytes(data)


class FactSource(Protocol):
    """Where facts come from: vault implements it, its wiring hands it over."""

    def facts(self, generated_by: str, now: datetime) -> Facts:
        """Measure everything now; a thing that cannot be measured is reported as None or with its error."""
