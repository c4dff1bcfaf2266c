"""Measures the facts that evidence rests on.

Disks are measured on their files, TLS by a handshake, policy by asking an empty one. Implements
`audit.evidence.facts.FactSource`. What cannot be measured is None or carries its error; nothing is taken from
configuration that could be looked at.
"""

import hashlib
import os
import platform
import pwd
import re
import resource
import socket
import ssl
import warnings
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from sqlmodel import col, select

from audit.evidence.facts import (
    AccountFacts,
    Argon2Facts,
    CanaryFacts,
    DiskFacts,
    Facts,
    FileFacts,
    FindingFacts,
    GuestFacts,
    HostMemoryFacts,
    ImageFacts,
    KeyFacts,
    KeyStoreFacts,
    LogFacts,
    MadeReportFacts,
    NetworkFacts,
    PolicyFacts,
    SettingsFacts,
    SignerFacts,
    SystemFacts,
    TransportFacts,
)
from audit.log.bundle_files import bundle_digest
from policies.bundle import empty
from policies.engine import PolicyEngine
from policies.vocabulary import Action, Entity, EntityRef, EntityType, Request
from vault.disks.measure import measure_disk
from vault.entities import HOST, KEY_STORE, LOG, SITE, account_entity, guest_entity
from vault.errors import VaultError
from vault.guests.mounts import active_swap, file_system_of
from vault.guests.network import DEFAULT_NETWORK, bridge_of
from vault.identity.passwords import BARRED_FORMER_PASSWORDS
from vault.keystore.seals.passphrase import MIN_CHARACTERS, RFC_9106_SECOND_OPTION
from vault.model import Account, Disk, Finding, Guest, GuestState, Report
from vault.site import Site

_LIBVIRT_DIR = Path("/var/lib/libvirt/qemu")
_ARGON2_VERSION = 19
_HANDSHAKE_TIMEOUT_S = 3.0


class SiteFacts:
    """Takes the facts of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def facts(self, generated_by: str, now: datetime, signer: SignerFacts | None = None) -> Facts:
        """Measure everything now.

        Args:
            generated_by: id of the account that asked.
            now: the instant the facts are taken, aware.
            signer: whose certificate will sign the report; None when none will.
        """
        settings = self._site.settings
        return Facts(
            system=self._system(generated_by, now, signer),
            guests=self._guests(),
            keys=self._keys(),
            key_store=self._key_store(),
            accounts=self._accounts(),
            settings=SettingsFacts(
                idle_timeout_s=settings.idle_timeout_s,
                lockout_tries=settings.lockout_tries,
                lockout_s=settings.lockout_s,
                password_min_length=settings.password_min_length,
                retention_days=settings.log_retention_days,
                password_letters_and_digits=True,
                password_history=BARRED_FORMER_PASSWORDS,
                password_hash="argon2id",  # noqa: S106 - the name of an algorithm
            ),
            transport=measure_transport(settings.host, settings.port),
            memory=HostMemoryFacts(
                libvirt_filesystem=file_system_of(_LIBVIRT_DIR),
                private_filesystem=file_system_of(settings.memory_dir),
                swap_active=bool(active_swap()),
                core_limit_zero=resource.getrlimit(resource.RLIMIT_CORE)[0] == 0,
            ),
            policy=PolicyFacts(
                bundle=self._site.bundle.digest,
                policy_count=len(self._site.bundle.policies),
                canary=ask_canary(),
                kept=self._kept_bundles(),
            ),
            log=self._log(),
            findings=self._findings(),
            images=self._images(),
            reports=self._reports(),
            network=NetworkFacts(name=DEFAULT_NETWORK, bridge=bridge_of(DEFAULT_NETWORK)),
        )

    def _system(self, generated_by: str, now: datetime, signer: SignerFacts | None) -> SystemFacts:
        hypervisor = self._site.host.versions()
        return SystemFacts(
            name="Strongroom",
            instance=self._site.settings.instance,
            software_version=version("strongroom"),
            host=socket.gethostname(),
            kernel=platform.release(),
            libvirt_version=hypervisor.libvirt,
            qemu_version=hypervisor.qemu,
            extracted_at=now,
            generated_by=generated_by,
            signer=signer,
        )

    def _kept_bundles(self) -> tuple[str, ...]:
        """Versions of the policy whose text is in the log's database and has the digest it is kept under."""
        digests = self._site.reader.bundles()
        return tuple(sorted(d for d in digests if bundle_digest(self._site.reader.bundle(d)) == d))

    def _findings(self) -> tuple[FindingFacts, ...]:
        with self._site.database.session() as session:
            rows = list(session.exec(select(Finding).order_by(col(Finding.created_at), Finding.id)))
        return tuple(
            FindingFacts(
                id=row.id,
                code=row.code,
                severity=row.severity,
                resource=row.resource,
                created_at=row.created_at,
                record=row.record,
                acknowledged_at=row.acknowledged_at,
                acknowledged_by=row.acknowledged_by,
                closed_at=row.closed_at,
                closed_by=row.closed_by,
                # The person's own words stay in the site; here it counts that they gave a reason.
                disposition="closed with a reason" if row.closed_by and row.reason else None,
            )
            for row in rows
        )

    def _images(self) -> tuple[ImageFacts, ...]:
        return tuple(
            ImageFacts(
                id=image.id,
                name=image.name,
                source=str(image.source),
                sha256=hashlib.sha256(image.document).hexdigest(),
                created_at=image.created_at,
            )
            for image in self._site.images.all()
        )

    def _reports(self) -> tuple[MadeReportFacts, ...]:
        with self._site.database.session() as session:
            rows = list(session.exec(select(Report).order_by(col(Report.created_at), Report.id)))
        return tuple(
            MadeReportFacts(
                id=row.id, framework=row.framework, created_at=row.created_at, created_by=row.created_by
            )
            for row in rows
        )

    def _guests(self) -> tuple[GuestFacts, ...]:
        with self._site.database.session() as session:
            guests = list(session.exec(select(Guest).order_by(Guest.name, Guest.id)))
            disks = list(session.exec(select(Disk).order_by(Disk.role, Disk.id)))
        running = {entry.guest_id for entry in self._site.host.list_active()}
        return tuple(
            GuestFacts(
                id=guest.id,
                name=guest.name,
                labels=tuple(guest.labels),
                state=_state(guest, running),
                owner=guest.owner,
                uid=guest.uid,
                created_at=guest.created_at,
                started_at=guest.started_at,
                deleted_at=guest.deleted_at,
                autostart=guest.autostart,
                image=guest.image_id,
                disks=tuple(
                    measured_disk(disk)
                    for disk in disks
                    if disk.guest_id == guest.id and guest.state != GuestState.DELETED
                ),
            )
            for guest in guests
        )

    def _keys(self) -> tuple[KeyFacts, ...]:
        location = str(self._site.settings.keystore_dir / "keys.db")
        return tuple(
            KeyFacts(
                id=key.id,
                purpose=str(key.purpose),
                owner=key.owner.id,
                state=str(key.state),
                wrapped_by=f"kek v{key.kek_version}",
                algorithm="AES-256-GCM",
                bits=256,
                created_at=key.created_at,
                location=location,
                generator="os-csprng",
                destroyed_at=key.destroyed_at,
            )
            for key in self._site.keys.list_keys()
        )

    def _key_store(self) -> KeyStoreFacts:
        status = self._site.keys.status()
        folder = self._site.settings.keystore_dir
        disks = self._site.settings.data_dir / "disks"
        return KeyStoreFacts(
            path=str(folder / "keys.db"),
            seal=", ".join(status.seals),
            sealed=status.sealed,
            kek_bits=256,
            passphrase_min_length=MIN_CHARACTERS,
            argon2=Argon2Facts(
                memory_kib=RFC_9106_SECOND_OPTION.memory_m_kib,
                passes=RFC_9106_SECOND_OPTION.passes_t,
                lanes=RFC_9106_SECOND_OPTION.lanes_p,
                version=_ARGON2_VERSION,
            ),
            device=_device(folder),
            same_device_as_disks=_device(folder) == _device(disks) if disks.exists() else None,
            plaintext_found=None,
            process_dumpable=status.dumpable,
        )

    def _accounts(self) -> tuple[AccountFacts, ...]:
        return tuple(_account_facts(account) for account in self._site.accounts.all())

    def _log(self) -> LogFacts:
        settings = self._site.settings
        # The certificate beside the keys is public; it is no file of the log.
        paths = sorted(
            [*settings.data_dir.glob("log.db*"), *settings.secrets_dir.glob("*.key"), settings.secrets_dir]
        )
        # Asked before and after: what was open at the checkpoint's instant was open at one of the two.
        in_flight = {intent.id for intent in self._site.log.open_intents()}
        newest = self._site.log.checkpoint()
        in_flight |= {intent.id for intent in self._site.log.open_intents()}
        return LogFacts(
            path=str(settings.log_db),
            origin=self._site.reader.origin,
            vkey=self._site.reader.vkey,
            checkpoint=newest.decode(),
            files=tuple(_file_facts(path) for path in paths),
            in_flight=tuple(sorted(in_flight)),
        )


def measured_disk(disk: Disk) -> DiskFacts:
    """A disk as its file says it is.

    A file that cannot be measured carries its error and counts as not encrypted.
    """
    path = Path(disk.path)
    try:
        measured = measure_disk(path)
    except VaultError as error:
        return DiskFacts(
            path=disk.path, role=disk.role, size_bytes=disk.size_bytes, encrypted=False, error=error.message
        )
    return DiskFacts(
        path=disk.path,
        role=disk.role,
        size_bytes=measured.virtual_size_bytes,
        encrypted=measured.encrypted,
        format=measured.format,
        cipher=measured.cipher,
        mode=measured.mode,
        hash=measured.hash,
        key_bits=measured.key_bits,
        active_keyslots=measured.active_slots,
        known_keyslots=tuple(disk.known_keyslots),
        uuid=measured.uuid,
        header_sha256=measured.header_sha256 or None,
        known_header_sha256=disk.header_sha256,
        key_id=disk.key_id,
        device=_device(path),
    )


def _probe_context(number: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that speaks one version of TLS, however weak, and trusts anybody.

    What is measured is what the listener takes; who it is was settled by the certificate file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = number
    context.minimum_version = number
    return context


def _probe_contexts() -> dict[str, ssl.SSLContext]:
    with warnings.catch_warnings():
        # Python warns of versions that are no longer safe: that a listener refuses them is the question here.
        warnings.simplefilter("ignore", DeprecationWarning)
        return {
            "TLSv1.0": _probe_context(ssl.TLSVersion.TLSv1),
            "TLSv1.1": _probe_context(ssl.TLSVersion.TLSv1_1),
            "TLSv1.2": _probe_context(ssl.TLSVersion.TLSv1_2),
            "TLSv1.3": _probe_context(ssl.TLSVersion.TLSv1_3),
        }


#: Made once, at import: silencing a warning touches all threads.
_PROBES = _probe_contexts()


def measure_transport(host: str, port: int) -> TransportFacts:
    """Ask the running daemon: which TLS versions it takes, and whether it answers without TLS."""
    accepted, cipher, certificate = [], None, None
    for name, context in _PROBES.items():
        try:
            with (
                socket.create_connection((host, port), _HANDSHAKE_TIMEOUT_S) as plain,
                context.wrap_socket(plain, server_hostname=host) as secured,
            ):
                accepted.append(name)
                cipher = (secured.cipher() or (None,))[0]
                der = secured.getpeercert(binary_form=True)
                certificate = hashlib.sha256(der).hexdigest() if der else None
        except OSError:
            continue  # this version is refused, or nobody listens
    if not accepted:
        return TransportFacts(min_version=None, plaintext_listeners=None)
    return TransportFacts(
        min_version=accepted[0],
        plaintext_listeners=(f"{host}:{port}",) if _answers_plainly(host, port) else (),
        cipher=cipher,
        certificate_sha256=certificate,
    )


def ask_canary() -> tuple[CanaryFacts, ...]:
    """Ask an empty policy set a sample of requests: each must be denied (PCI DSS 7.3.3)."""
    engine = PolicyEngine(empty())
    principal = account_entity("canary", ["administrator", "operator"], active=True)
    guest = guest_entity("canary", ["ephi"], "canary")
    samples: list[tuple[Action, Entity]] = [
        (Action.GUEST_START, guest),
        (Action.GUEST_EXEC, guest),
        (Action.GUEST_LIST, Entity(SITE)),
        (Action.LOG_EXPORT, Entity(LOG)),
        (Action.KEYSTORE_UNSEAL, Entity(KEY_STORE)),
        (Action.HOST_INSPECT, Entity(HOST)),
        (Action.KEY_SHOW, Entity(EntityRef(EntityType.KEY, "canary"))),
    ]
    answers = []
    for action, asked in samples:
        decision = engine.decide(
            Request(
                principal.ref,
                action,
                asked.ref,
                {"channel": "api", "approvals": 9, "reason_given": True, "second_factor": True},
                (principal, *(Entity(parent) for parent in principal.parents), asked),
            )
        )
        answers.append(
            CanaryFacts(
                principal_type=str(principal.ref.type),
                action=str(action),
                resource_type=str(asked.ref.type),
                decision=str(decision.verdict),
            )
        )
    return tuple(answers)


def _state(guest: Guest, running: set[str]) -> str:
    if guest.state != GuestState.READY:
        return guest.state
    return "running" if guest.id in running else "stopped"


def _account_facts(account: Account) -> AccountFacts:
    return AccountFacts(
        id=account.id,
        roles=tuple(account.roles),
        active=account.active,
        service=account.service,
        created_at=account.created_at,
        last_login_at=account.last_login_at,
        disabled_at=account.disabled_at,
        password_changed_at=account.password_changed_at,
    )


def _answers_plainly(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), _HANDSHAKE_TIMEOUT_S) as plain:
            plain.settimeout(_HANDSHAKE_TIMEOUT_S)
            plain.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            # 400 is how some servers say that they want TLS; anything else is an answer.
            return re.match(rb"HTTP/1\.[01] (?!400)", plain.recv(16)) is not None
    except OSError:
        return False


def _device(path: Path) -> str | None:
    try:
        number = path.stat().st_dev
    except OSError:
        return None
    return f"{os.major(number)}:{os.minor(number)}"


def _file_facts(path: Path) -> FileFacts:
    status = path.stat()
    return FileFacts(
        path=str(path),
        mode=f"{status.st_mode & 0o7777:04o}",
        owner=_name_of(status.st_uid),
        group=str(status.st_gid),
    )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
