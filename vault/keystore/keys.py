"""What may be said about a key: everything but the key. Nothing in this file is secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from policies.vocabulary import EntityRef
from vault.keystore.lifecycle import KeyState

_RFC3339 = "%Y-%m-%dT%H:%M:%S.%fZ"
#: Every key Strongroom makes: 256 random bits (NIST SP 800-57 Part 1, section 5.6.1).
STRENGTH_BITS = 256


class KeyPurpose(StrEnum):
    """What a key protects. Bound into the wrapped key, so a key never changes its purpose."""

    DISK = "disk"  # passphrase of a guest's disk
    SEED = "seed"  # passphrase of a guest's cloud-init seed image
    PERSON = "person"  # private half of a person's HPKE key (decision D3)


#: Purposes whose secret is a LUKS passphrase made by the key store.
PASSPHRASE_PURPOSES = frozenset({KeyPurpose.DISK, KeyPurpose.SEED})


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as lists and records show it.

    Attributes:
        id: random id.
        version: from 1.
        purpose: what it protects.
        owner: whose it is: a guest or an account.
        state: NIST SP 800-57 state.
        kek_version: version of the KEK that wraps it.
        intent: id of the log record under which it was made.
        created_at, destroyed_at: aware UTC times; `destroyed_at` is None until then.
    """

    id: str
    version: int
    purpose: KeyPurpose
    owner: EntityRef
    state: KeyState
    kek_version: int
    intent: str
    created_at: datetime
    destroyed_at: datetime | None = None

    def to_document(self) -> dict[str, Any]:
        """The key as JSON values."""
        return {
            "id": self.id,
            "version": self.version,
            "purpose": str(self.purpose),
            "owner": str(self.owner),
            "state": str(self.state),
            "kek_version": self.kek_version,
            "intent": self.intent,
            "created_at": written_time(self.created_at),
            "destroyed_at": written_time(self.destroyed_at) if self.destroyed_at else None,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "KeyInfo":
        """Read back what `to_document` wrote."""
        destroyed_at = document["destroyed_at"]
        return cls(
            id=document["id"],
            version=document["version"],
            purpose=KeyPurpose(document["purpose"]),
            owner=EntityRef.parse(document["owner"]),
            state=KeyState(document["state"]),
            kek_version=document["kek_version"],
            intent=document["intent"],
            created_at=read_time(document["created_at"]),
            destroyed_at=read_time(destroyed_at) if destroyed_at else None,
        )


@dataclass(frozen=True, slots=True)
class KeyStoreStatus:
    """How the key store is.

    Attributes:
        running: whether the key process answers; a dead one is as good as sealed.
        sealed: whether the KEK is absent from its memory.
        store_id: the store's random id; None while the process does not run.
        seals: kinds of seals that can open it, sorted.
        kek_version: the KEK version that wraps new keys.
        active_keys, destroyed_keys: how many there are.
        failed_unseals: failed tries since the process started or was last unsealed.
        pid: the key process.
        dumpable: whether the kernel would dump it, as it answers the process itself; None where nobody asked.
    """

    running: bool
    sealed: bool
    store_id: str | None = None
    seals: tuple[str, ...] = ()
    kek_version: int | None = None
    active_keys: int = 0
    destroyed_keys: int = 0
    failed_unseals: int = 0
    pid: int | None = None
    dumpable: bool | None = None


def written_time(moment: datetime) -> str:
    """A time as fixed-width RFC 3339 text in UTC, with microseconds."""
    return moment.astimezone(UTC).strftime(_RFC3339)


def read_time(written: str) -> datetime:
    """Read back what `written_time` wrote.

    Raises:
        ValueError: it is not written so.
    """
    return datetime.strptime(written, _RFC3339).replace(tzinfo=UTC)
