"""Real sites for tests: init, log, key process, LUKS disks and state are real; only the hypervisor is given.

A site lies below /var/lib/strongroom under a random name, because that is where QEMU could enter, and is gone after.
"""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlmodel import SQLModel, col, select

from audit.log.record import Kind, Record
from audit.verify import verify_store
from policies.vocabulary import Action, EntityRef
from tests.small_guest import cache_dir
from vault.config import Settings
from vault.entities import DAEMON
from vault.gate import Caller
from vault.guests.ports import GuestHost
from vault.identity.accounts import account_ref
from vault.jobs import no_progress
from vault.model import Account, Disk, Finding, Guest, LoginSession, Report
from vault.operations.accounts import create_account
from vault.operations.guest_create import NewGuest, create_guest
from vault.operations.images import import_image
from vault.operations.init import init_site
from vault.operations.keystore import unseal
from vault.site import Site
from vault.wiring import open_site

SITES = Path("/var/lib/strongroom")
PASSWORD = "a long passw0rd"
PASSPHRASE = b"correct horse battery 7"
IMAGE = "waits"
MIB = 2**20
IMAGE_BYTES = 64 * MIB
ADMINISTRATOR = "ada-admin"
OPERATOR = "olga-operator"
AUDITOR = "anna-auditor"
PEOPLE = {OPERATOR: "operator", AUDITOR: "auditor"}
DAEMON_CALLER = Caller(DAEMON, "daemon")
_TABLES: tuple[type[SQLModel], ...] = (Account, Guest, Disk, Finding, LoginSession, Report)


@dataclass
class PreparedSite:
    """A site on the disk, with people and an image, that nobody has open."""

    settings: Settings
    people: dict[str, str] = field(default_factory=dict)

    def caller(self, name: str, session: str | None = None) -> Caller:
        """Somebody at the command line."""
        return Caller(account_ref(self.people[name]), "cli", session)

    @contextlib.contextmanager
    def opened(
        self,
        host: GuestHost,
        *,
        unsealed: bool = True,
        settings: Settings | None = None,
        before_unseal: Callable[[Site], None] | None = None,
    ) -> Iterator[Site]:
        """The site, acting; closed after the block."""
        site = open_site(settings or self.settings, connect=lambda _settings: host)
        try:
            if before_unseal is not None:
                before_unseal(site)
            if unsealed:
                unseal(site, self.caller(ADMINISTRATOR), bytearray(PASSPHRASE))
            yield site
        finally:
            site.close()


def new_settings() -> Settings:
    """Settings of a site of its own."""
    return replace(
        Settings(),
        data_dir=SITES / f"test-{secrets.token_hex(4)}",
        cache_dir=cache_dir(),
        accelerator="tcg",
    )


@contextlib.contextmanager
def prepared_site(host: GuestHost) -> Iterator[PreparedSite]:
    """A site with an administrator, an operator, an auditor, and an image that is quick to write."""
    SITES.mkdir(parents=True, exist_ok=True)
    settings = new_settings()
    try:
        made = init_site(settings, ADMINISTRATOR, PASSWORD, bytearray(PASSPHRASE))
        prepared = PreparedSite(settings, {ADMINISTRATOR: made["administrator"]["id"]})
        with prepared.opened(host) as site:
            for name, role in PEOPLE.items():
                account = create_account(site, prepared.caller(ADMINISTRATOR), name, PASSWORD, [role])
                prepared.people[name] = account["id"]
            source = settings.data_dir / "source.raw"
            write_bootable_image(source)
            import_image(site, prepared.caller(OPERATOR), IMAGE, source, None, "raw", no_progress)
            source.unlink()
        yield prepared
    finally:
        remove_site(settings)


def remove_site(settings: Settings) -> None:
    """Leave nothing of a site, also where its init was killed."""
    part = settings.data_dir.with_name(f".{settings.data_dir.name}.init")
    for folder in (settings.data_dir, part, settings.memory_dir):
        if folder.exists():
            shutil.rmtree(folder)


def write_bootable_image(path: Path, size_bytes: int = IMAGE_BYTES) -> None:
    """A raw disk image with a boot signature and nothing else."""
    path.write_bytes(bytes(510) + b"\x55\xaa")
    os.truncate(path, size_bytes)


def new_guest(name: str, **changed: Any) -> NewGuest:  # noqa: ANN401 - the fields' own types
    """A small guest, as somebody would ask for it."""
    wanted = NewGuest(name, IMAGE, vcpus=1, memory_bytes=64 * MIB, disk_bytes=IMAGE_BYTES)
    return replace(wanted, **changed)


def make_guest(site: Site, caller: Caller, name: str, **changed: Any) -> str:  # noqa: ANN401 - as above
    """Make a small guest; its id."""
    return str(create_guest(site, caller, new_guest(name, **changed), no_progress)["id"])


# -- looking at a site --------------------------------------------------------------------------


def records(site: Site, since: int = 0) -> list[Record]:
    """The log's records from a number on."""
    return [site.reader.by_seq(seq) for seq in range(since, site.log.head().size)]


def told(site: Site, since: int, *, action: Action | None = None) -> list[tuple[Kind, str, str | None]]:
    """Kind, action and code of the records from a number on."""
    return [
        (record.kind, record.action, str(record.result["code"]) if record.result else None)
        for record in records(site, since)
        if action is None or record.action == action
    ]


def whole_state(site: Site) -> dict[str, object]:
    """Everything that an operation which fails must leave as it was, the log apart."""
    found: dict[str, object] = {}
    with site.database.session() as session:
        for table in _TABLES:
            rows = [row.model_dump(mode="json") for row in session.exec(select(table))]
            found[table.__name__] = sorted(json.dumps(row, sort_keys=True) for row in rows)
    data = site.settings.data_dir
    for folder in ("disks", "images", "reports", "exports", "secrets"):
        # The log notes its head there by itself, whenever that is due.
        found[folder] = sorted(
            str(path)
            for path in (data / folder).rglob("*")
            if not path.name.lstrip(".").startswith("log.head")
        )
    found["memory"] = sorted(str(path) for path in site.settings.memory_dir.rglob("*"))
    found["keys"] = sorted(json.dumps(key.to_document(), sort_keys=True) for key in site.keys.list_keys())
    return found


def key_states(site: Site, owner: EntityRef) -> list[str]:
    """States of the keys of a guest."""
    return sorted(str(key.state) for key in site.keys.list_keys(owner))


def open_findings(site: Site) -> set[tuple[str, str]]:
    """Code and resource of what a person must look at."""
    return {(finding.code, finding.resource) for finding in site.findings.all_open()}


def guest_row(site: Site, guest_id: str) -> Guest | None:
    """The guest's row, whatever its state."""
    with site.database.session() as session:
        return session.exec(select(Guest).where(col(Guest.id) == guest_id)).first()


def disk_folder(site: Site, guest_id: str) -> Path:
    """Where a guest's disks lie."""
    return site.settings.data_dir / "disks" / guest_id


def require_log_holds(site: Site) -> None:
    """Verify the whole log by the verifier that the product ships, and that nothing is left open."""
    assert verify_store(site.settings.log_db).holds
    assert site.log.open_intents() == []
