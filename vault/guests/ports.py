"""What the operations need of a hypervisor; libvirt implements it, and a fake in the tests does too."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from policies.vocabulary import EntityRef
from vault.guests.domain_xml import DomainPlan
from vault.keystore.secret import DiskPassphrase
from vault.permit import Permit


class EventKind(StrEnum):
    """What libvirt tells by itself."""

    STARTED = "started"
    STOPPED = "stopped"
    PAUSED = "paused"
    RESUMED = "resumed"
    CRASHED = "crashed"
    DEFINED = "defined"
    BLOCK_JOB = "block_job"
    MONITOR = "monitor"
    AGENT_CONNECTED = "agent_connected"
    AGENT_DISCONNECTED = "agent_disconnected"


@dataclass(frozen=True, slots=True)
class DomainEvent:
    """Something that happened to a domain.

    Attributes:
        name: the domain's name.
        guest_id: our guest's id, None where the domain is not ours.
        kind: what happened.
        detail: libvirt's word for why, such as `shutdown`, `destroyed`, or a block job's type.
        uses_our_disks: paths of the files that the domain names as disks, for the caller to look for its own
            among them (read when it starts, stops for a while or is defined).
    """

    name: str
    guest_id: str | None
    kind: EventKind
    detail: str = ""
    uses_our_disks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActiveDomain:
    """A domain of ours that has a QEMU process now.

    Attributes:
        paused: it does not run: half started, or paused later, such as by a full disk.
        taints: what libvirt says was done to it past libvirt, such as `custom-monitor`.
    """

    guest_id: str
    name: str
    paused: bool
    taints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GuestStats:
    """What a running guest has used since its start, as the hypervisor counts it."""

    cpu_time_ns: int
    vcpus: int
    memory_bytes: int
    resident_bytes: int
    disk_read_bytes: int
    disk_written_bytes: int
    network_received_bytes: int
    network_sent_bytes: int


@dataclass(frozen=True, slots=True)
class HypervisorVersions:
    """Versions, for reports; `unknown` while libvirt does not answer."""

    libvirt: str
    qemu: str


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command inside a guest gave back.

    Attributes:
        exit_code: the command's own; 128 + signal where a signal ended it.
        truncated: whether output beyond the limit was left out.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    truncated: bool


class GuestHost(Protocol):
    """Runs guests.

    Every method may raise `HostFailure` when the hypervisor does not answer or fails.
    """

    def start(
        self, permit: Permit, guest: EntityRef, plan: DomainPlan, passphrases: Mapping[str, DiskPassphrase]
    ) -> None:
        """Start a guest; on any failure nothing of it is left, and no secret is defined afterwards.

        Args:
            passphrases: by the disks' target names.

        Raises:
            Conflict: a domain of this name runs.
            HostUnprotected: the host would leave keys on a disk.
            KeyUnavailable: a passphrase does not open its disk.
        """

    def stop(
        self,
        permit: Permit,
        guest: EntityRef,
        name: str,
        *,
        timeout_s: float,
        force: bool,
        waiting: Callable[[float], None],
    ) -> bool:
        """Ask the guest to shut down; after the time, with force, cut its power.

        Returns:
            whether power was cut.

        Raises:
            Conflict: it does not run, or did not shut down in time and force was not asked for.
        """

    def abandon(self, permit: Permit, guest: EntityRef) -> bool:
        """Remove what a killed start left: a paused domain of this guest. Returns whether there was one."""

    def is_running(self, guest_id: str) -> bool:
        """Whether the guest has a domain that runs (a paused half-start does not count)."""

    def list_active(self) -> list[ActiveDomain]:
        """Our domains that have a QEMU process now."""

    def stats(self, guest_id: str) -> GuestStats:
        """What a running guest has used.

        Raises:
            NotFound: it does not run.
        """

    def undefine_secrets(self) -> int:
        """Undefine all secrets of this instance; returns how many there were."""

    def agent_answers(self, name: str) -> bool:
        """Whether the guest agent answers now."""

    def execute(
        self, permit: Permit, guest: EntityRef, name: str, argv: list[str], stdin: bytes, timeout_s: float
    ) -> ExecResult:
        """Run a command inside the guest."""

    def write_file(
        self, permit: Permit, guest: EntityRef, name: str, path: str, data: bytes, mode: int
    ) -> None:
        """Write a file inside the guest."""

    def read_file(self, permit: Permit, guest: EntityRef, name: str, path: str, limit_bytes: int) -> bytes:
        """Read a file inside the guest."""

    def versions(self) -> HypervisorVersions:
        """Versions of libvirt and QEMU."""

    def watch(self, handler: Callable[[DomainEvent], None], *, agents: bool = False) -> None:
        """Hand every event to `handler`, in a thread of the host's; of guests' agents only with `agents`."""

    def close(self) -> None:
        """Stop watching and disconnect; guests run on."""
