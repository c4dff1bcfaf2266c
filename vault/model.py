"""What the site holds, as tables: accounts, sessions, guests, disks, jobs, findings, reports.

The log says what happened; these rows say what is. Nothing here is secret: passwords are Argon2id
hashes, tokens are digests, disk keys are in the key store. Names live only here, never in the log (D3).
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from sqlalchemy import JSON, Column, Index, text
from sqlmodel import Field, SQLModel

from vault.database import UtcDateTime


def utc_now() -> datetime:
    """The present time, aware."""
    return datetime.now(UTC)


def new_id() -> str:
    """A random id (UUID version 4, as text): says nothing about what it names."""
    return str(uuid4())


def _json() -> Any:  # noqa: ANN401 - SQLModel takes the column as any
    return Field(default_factory=list, sa_column=Column(JSON, nullable=False))


class Account(SQLModel, table=True):
    """A person's or a service's account."""

    id: str = Field(default_factory=new_id, primary_key=True)
    name: str = Field(unique=True, index=True)
    roles: list[str] = _json()
    password_hash: str
    former_hashes: list[str] = _json()
    active: bool = True
    service: bool = False
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    password_changed_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    last_login_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    failed_tries: int = 0
    locked_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: Public half of the person's key (D3); None until the key store could wrap the private half.
    personal_public_key: str | None = None
    personal_key_id: str | None = None


class LoginSession(SQLModel, table=True):
    """A session of a person (web or command line) or an API token of a service."""

    id: str = Field(default_factory=new_id, primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    token_sha256: str = Field(unique=True, index=True)
    channel: str
    label: str = ""
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    last_seen_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    idle_limit_s: int | None = None


class GuestState(StrEnum):
    """What the site knows of a guest beside what libvirt says."""

    CREATING = "creating"
    READY = "ready"  # whole: it runs or can be started
    DELETING = "deleting"
    DELETED = "deleted"  # its disks and keys are gone; the row stays as evidence, and the name is free again


class Guest(SQLModel, table=True):
    """A virtual machine. Its domain in libvirt is transient and made from this row."""

    __table_args__ = (
        Index("one_guest_of_a_name", "name", unique=True, sqlite_where=text("state != 'deleted'")),
    )

    id: str = Field(default_factory=new_id, primary_key=True)
    name: str
    state: str = GuestState.CREATING
    labels: list[str] = _json()
    owner: str
    image_id: str
    vcpus: int
    memory_bytes: int
    uid: int = Field(unique=True)
    mac: str = Field(unique=True)
    autostart: bool = False
    start_order: int = 0
    boots_directly: bool = True
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class DiskRole(StrEnum):
    """What a disk is for."""

    ROOT = "root"
    SEED = "seed"


class Disk(SQLModel, table=True):
    """An encrypted disk, and the keyslots it is known to have."""

    id: str = Field(default_factory=new_id, primary_key=True)
    guest_id: str = Field(foreign_key="guest.id", index=True)
    role: str
    path: str
    size_bytes: int
    key_id: str
    known_keyslots: list[int] = _json()
    header_sha256: str | None = None


class JobState(StrEnum):
    """Where long work stands."""

    WAITING = "waiting"  # for its turn, or for the key store to be unsealed
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: States that a job does not leave any more.
ENDED = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class Job(SQLModel, table=True):
    """Long work, described so that another run of the daemon can take it up (ADR 0014).

    `action` says what kind of work it is; `arguments` say on what, and hold nothing secret. `caller` is who asked,
    as `vault.jobs` writes it. Both are None in rows of schema 1. `revision` grows with each change.
    """

    id: str = Field(default_factory=new_id, primary_key=True)
    account_id: str = Field(index=True)
    action: str
    subject: str
    arguments: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
    caller: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
    state: str = JobState.WAITING
    percent: int = 0
    sentence: str = ""
    done_count: int | None = None
    total_count: int | None = None
    #: How often it was begun; a stop in order does not count.
    attempt: int = 0
    #: The intent under which it acts; None until the gate has let it through.
    intent: str | None = None
    #: The account that asked for its end.
    cancelled_by: str | None = None
    revision: int = 0
    result: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
    error: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Finding(SQLModel, table=True):
    """Something a person must look at: what, since when, which record shows it, what to do.

    It is open until it is closed: by itself, when a check sees that it is no more (`closed_by` is None then), or by a
    person with a reason. In between a person may have said that they know. Their words stay in this table.
    """

    id: str = Field(default_factory=new_id, primary_key=True)
    code: str = Field(index=True)
    severity: str
    resource: str
    sentence: str
    remedy: str
    record: str | None = None
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    acknowledged_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    acknowledged_by: str | None = None
    note: str | None = None
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_by: str | None = None
    reason: str | None = None
    #: The finding that a person had closed although its cause still stood.
    reopens: str | None = None


class Report(SQLModel, table=True):
    """A report that was made."""

    id: str = Field(default_factory=new_id, primary_key=True)
    framework: str
    period_from: datetime = Field(sa_type=UtcDateTime)
    period_to: datetime = Field(sa_type=UtcDateTime)
    created_by: str
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    files: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    #: How many controls there were, how many were tested, how they ended; None in rows of schema 2 and older.
    summary: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
