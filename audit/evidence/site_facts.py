"""Facts of the site itself: system, accounts, settings, transport, policy, log files, attached proofs."""

from typing import Annotated

from pydantic import Field

from audit.evidence.fact import Count, Fact, Hex256, Instant


class SignerFacts(Fact):
    """Whose certificate signs the report's PDF.

    Attributes:
        certificates: SHA-256 of each certificate of the chain, the signer's first.
        self_issued: the authority is this site's own, so nobody else vouches for it.
    """

    subject: str
    certificates: tuple[Hex256, ...]
    self_issued: bool


class SystemFacts(Fact):
    """Which installation this is, and when and by whom the facts were taken.

    Attributes:
        clock_offset_us: host clock minus reference, microseconds; None when no time source could be asked.
        generated_by: id of the account (or `os:<uid>`) that asked for the report.
    """

    name: str
    instance: str
    software_version: str
    host: str
    kernel: str
    libvirt_version: str
    qemu_version: str
    extracted_at: Instant
    generated_by: str
    clock_offset_us: int | None = None
    clock_source: str | None = None
    signer: SignerFacts | None = None


class AccountFacts(Fact):
    """One account, by its random id: reports carry no names (D3)."""

    id: str
    roles: tuple[str, ...]
    active: bool
    service: bool
    created_at: Instant
    last_login_at: Instant | None = None
    disabled_at: Instant | None = None
    second_factor: bool = False
    owner: str | None = None
    password_changed_at: Instant | None = None


class SettingsFacts(Fact):
    """The settings that controls put a number on."""

    idle_timeout_s: Count
    lockout_tries: Count
    lockout_s: Count
    password_min_length: Count
    retention_days: Count
    password_letters_and_digits: bool | None = None
    password_history: Count | None = None
    password_hash: str | None = None
    cryptoperiod_days: Count | None = None
    max_custodians: Count = 5


class TransportFacts(Fact):
    """What a TLS handshake with the running daemon showed.

    Attributes:
        min_version: the lowest protocol version the listener accepted, e.g. `TLSv1.2`; None when not
            measured.
        plaintext_listeners: addresses on which the daemon answers without TLS; None when not measured.
    """

    min_version: str | None
    plaintext_listeners: tuple[str, ...] | None
    cipher: str | None = None
    certificate_sha256: Hex256 | None = None


class CanaryFacts(Fact):
    """What an empty policy set answered to one sample request."""

    principal_type: str
    action: str
    resource_type: str
    decision: str


class PolicyFacts(Fact):
    """The policy in force, the deny-all canary, and the versions whose whole text is kept in the log's database.

    Attributes:
        kept: digests of the versions whose files are there and have that digest; None when it was not looked at.
    """

    bundle: Hex256
    policy_count: Count
    canary: tuple[CanaryFacts, ...] = ()
    kept: tuple[Hex256, ...] | None = None


class FileFacts(Fact):
    """Owner and permission of one file; `mode` is the permission bits as four octal digits."""

    path: str
    mode: Annotated[str, Field(pattern=r"^[0-7]{4}$")]
    owner: str
    group: str


class LogFacts(Fact):
    """The log the evidence rests on.

    Attributes:
        vkey: the log's public key as a C2SP verifier key line.
        checkpoint: the signed note that fixes how much of the log the report covers; None when there is none.
        in_flight: ids of the intents the gate was acting on when the facts were taken, the report's own among
            them: they have no outcome yet, and that is no finding.
        off_host_copy_at: when the log was last copied to another host; None when it is not.
    """

    path: str
    origin: str
    vkey: str
    checkpoint: str | None
    files: tuple[FileFacts, ...] = ()
    in_flight: tuple[str, ...] = ()
    off_host_copy_at: Instant | None = None


class FindingFacts(Fact):
    """Something the platform found that a person must look at.

    Attributes:
        resource: what it is about, by id.
        closed_by: id of the account that closed it; None when it is open, or ended by itself.
        disposition: what that person decided, by a word of ours; None when no person did.
    """

    id: str
    code: str
    severity: str
    resource: str
    created_at: Instant
    record: str | None = None
    acknowledged_at: Instant | None = None
    acknowledged_by: str | None = None
    closed_at: Instant | None = None
    closed_by: str | None = None
    disposition: str | None = None


class ImageFacts(Fact):
    """An image that guests are made from; `sha256` names all of it."""

    id: str
    name: str
    source: str
    sha256: Hex256 | None
    created_at: Instant


class MadeReportFacts(Fact):
    """A report that was made earlier."""

    id: str
    framework: str
    created_at: Instant
    created_by: str


class NetworkFacts(Fact):
    """The network that guests share. Its fence keeps them from the host and from each other."""

    name: str
    bridge: str


class ProofFacts(Fact):
    """A document a person attached for one control, by digest (what it says is theirs to answer for)."""

    control: str
    description: str
    sha256: Hex256
    attached_at: Instant
    attached_by: str
