"""Facts of what is protected and what protects it: guests, their disks, keys, the key store, host memory."""

from audit.evidence.fact import Count, Fact, Hex256, Instant


class DiskFacts(Fact):
    """One disk as measured on its file, not as configured.

    Attributes:
        role: `root`, `seed` or another word for what the disk is for.
        key_bits: length of the volume key in bits; XTS uses two halves, so 512 means AES-256.
        active_keyslots: slots found active in the header.
        known_keyslots: slots the key store knows of; any other active one is a finding.
        device: the file system device the file lies on (major:minor).
        fixed: a data-centre drive; False only for media that is really taken out and carried.
        known_header_sha256: digest of the header as the platform last left it.
        error: why the file could not be measured; then nothing else about it is trusted.
    """

    path: str
    role: str
    size_bytes: Count
    encrypted: bool
    format: str | None = None
    cipher: str | None = None
    mode: str | None = None
    hash: str | None = None
    key_bits: Count | None = None
    active_keyslots: tuple[int, ...] = ()
    known_keyslots: tuple[int, ...] = ()
    uuid: str | None = None
    header_sha256: Hex256 | None = None
    known_header_sha256: Hex256 | None = None
    key_id: str | None = None
    device: str | None = None
    fixed: bool = True
    error: str | None = None


class GuestFacts(Fact):
    """One guest, also a deleted one as long as the site remembers it (`state == "deleted"`)."""

    id: str
    name: str
    labels: tuple[str, ...]
    state: str
    owner: str | None = None
    uid: int | None = None
    created_at: Instant | None = None
    started_at: Instant | None = None
    deleted_at: Instant | None = None
    autostart: bool | None = None
    image: str | None = None
    disks: tuple[DiskFacts, ...] = ()


class KeyFacts(Fact):
    """One key's metadata; never its value.

    Attributes:
        purpose: what it protects, e.g. `disk`, `person`, `kek`.
        owner: id of what it belongs to (a guest, an account); None for the root key.
        state: NIST SP 800-57 part 1 section 7: pre-activation, active, suspended, deactivated, compromised,
            destroyed.
        wrapped_by: version of the KEK that wraps it (the seal, for the root key); None when nothing wraps it.
        algorithm: how it is wrapped at rest, e.g. `AES-256-GCM`.
        bits: length of the key itself.
        generator: where it came from, e.g. `os-csprng`.
        location: the file or device that holds the wrapped key.
    """

    id: str
    purpose: str
    owner: str | None
    state: str
    wrapped_by: str | None
    algorithm: str | None
    bits: Count | None
    created_at: Instant
    location: str
    generator: str | None = None
    destroyed_at: Instant | None = None


class Argon2Facts(Fact):
    """Parameters of the passphrase seal (RFC 9106)."""

    memory_kib: Count
    passes: Count
    lanes: Count
    version: int


class KeyStoreFacts(Fact):
    """The key store and its seal.

    Attributes:
        seal: `passphrase`, `shares`, `pkcs11` or `tpm2`.
        kek_bits: length of the root key.
        passphrase_min_length: shortest passphrase the seal accepts; None for another seal.
        share_threshold, share_count: for a seal of shares.
        device: file system device of the key store.
        same_device_as_disks: whether it lies on the device of any disk; None when that could not be told.
        plaintext_found: whether the search for plaintext keys in the store's files found any; None: not
            searched.
        metadata_bound: whether every wrapped key opened with its own id, version, purpose and owner as associated
            data, and with no other; None: not tried.
        process_dumpable: whether the key process allows core dumps or tracing; None while it does not run.
    """

    path: str
    seal: str
    sealed: bool
    kek_bits: Count | None = None
    passphrase_min_length: Count | None = None
    argon2: Argon2Facts | None = None
    share_threshold: Count | None = None
    share_count: Count | None = None
    device: str | None = None
    same_device_as_disks: bool | None = None
    plaintext_found: bool | None = None
    metadata_bound: bool | None = None
    process_dumpable: bool | None = None


class HostMemoryFacts(Fact):
    """Where the host keeps what it must never write to a disk (DESIGN section 1).

    Attributes:
        libvirt_filesystem: file system type below libvirt's per-domain directories.
        private_filesystem: file system type of our own memory directory.
        core_limit_zero: whether guests and the key process may not dump core.
    """

    libvirt_filesystem: str | None
    private_filesystem: str | None
    swap_active: bool | None
    core_limit_zero: bool | None = None
