"""`strongroom init`: makes a site, without the daemon, under the log's lock.

Everything is made in a folder beside the wanted one and gets its name last, so an init that was killed
leaves no half-made site, and running it again starts anew. The log is made first: what init does is in it
(principal `os:<uid>`, policy `base.bootstrap`).
"""

import os
import secrets
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit.log.database import create_database
from audit.log.signing_key import LogKey
from audit.report.signer import create_signer
from policies.vocabulary import Action, EntityRef, EntityType, Role
from vault.config import Settings, written_settings
from vault.database import Database
from vault.entities import SITE, account_entity
from vault.errors import BadInput, Conflict, HostFailure
from vault.foundation import open_foundation
from vault.gate import Access, Caller, Gate
from vault.identity.accounts import Accounts, account_ref
from vault.identity.personal import new_personal_key
from vault.keystore.client import KeyProcessClient
from vault.keystore.founding import init_store
from vault.keystore.seals.passphrase import PassphraseSeal
from vault.keystore.secret import SecretBytes
from vault.model import new_id
from vault.permit import Permit
from vault.tls import make_certificate

#: The folder must be enterable by every guest's own user id, and readable by nobody.
_DATA_DIR_MODE = 0o711
_WAY_MODE = 0o755
#: Settings are not secret, and whoever uses the command line reads them.
_SETTINGS_MODE = 0o644


def init_site(
    settings: Settings, admin_name: str, admin_password: str, passphrase: bytearray
) -> dict[str, Any]:
    """Make a site with its first administrator.

    Args:
        settings: where; the data folder must not exist yet (or be empty).
        admin_name, admin_password: the first account, administrator and custodian.
        passphrase: what will open the key store; wiped.

    Raises:
        Conflict: there is a site already.
        BadInput: a name, password or passphrase breaks a rule, or QEMU cannot enter the folder.
    """
    with SecretBytes(passphrase):
        return _init(settings, admin_name, admin_password, passphrase)


def _init(settings: Settings, admin_name: str, admin_password: str, passphrase: bytearray) -> dict[str, Any]:
    target, store = settings.data_dir, settings.key_store_dir
    _require_free(target)
    _require_reachable(target)
    part = _part_of(target)
    if store is None:
        making = replace(settings, data_dir=part)
    else:
        _require_free(store)
        making = replace(settings, data_dir=part, key_store_dir=_part_of(store))
    _remove_unfinished(making)
    try:
        _make_way(target)
        part.mkdir(mode=_DATA_DIR_MODE)
        part.chmod(_DATA_DIR_MODE)
        for name, mode in (
            ("secrets", 0o700),
            ("disks", 0o711),
            ("images", 0o711),
            ("reports", 0o700),
            ("exports", 0o700),
        ):
            (part / name).mkdir()
            (part / name).chmod(mode)
        origin = f"strongroom.local/{settings.instance}-{secrets.token_hex(4)}"
        key = LogKey.create(making.secrets_dir / "log.key", origin)
        create_database(making.log_db, origin=origin, vkey=key.vkey)
        Database(making.state_db, create=True).close()
        (part / "config.toml").write_text(written_settings(settings), encoding="utf-8")
        (part / "config.toml").chmod(_SETTINGS_MODE)
        account_id, epoch_vkey = _fill(making, settings.instance, admin_name, admin_password, passphrase)
        if store is not None:
            _give_name(making.keystore_dir, store)
        _give_name(part, target)
    except OSError as error:
        _remove_unfinished(making)
        raise HostFailure(
            f"The site cannot be made in {target}: {error.strerror}.", "Mend that, then try again."
        ) from error
    except BaseException:
        _remove_unfinished(making)
        raise
    return {
        "data_dir": str(target),
        "origin": origin,
        "vkey": key.vkey,
        "epoch_vkey": epoch_vkey,
        "administrator": {"id": account_id, "name": admin_name},
        "seal": "passphrase",
        "url": settings.url,
    }


def _fill(
    making: Settings, instance: str, admin_name: str, admin_password: str, passphrase: bytearray
) -> tuple[str, str | None]:
    """Key store, certificate, first account: each by the gate, in the log that was just made.

    Returns:
        The account's id, and the verifier key of the log's first epoch.
    """
    foundation = open_foundation(making)
    keys = KeyProcessClient(making.keystore_dir, making.log_db)
    try:
        foundation.log.declare_recovered()
        caller = Caller(EntityRef(EntityType.OPERATING_SYSTEM, str(os.getuid())), "local")
        account_id = new_id()

        def act(permit: Permit) -> None:
            opening = bytearray(passphrase)
            with SecretBytes(opening):
                init_store(making.keystore_dir, PassphraseSeal(), passphrase)
                make_certificate(making.secrets_dir, making.host)
                create_signer(making.secrets_dir, f"{instance} on {socket.gethostname()}")
                _write_session_key(making.secrets_dir / "session.key")
                keys.start()
                keys.unseal(permit, opening)
            _create_administrator(
                foundation.gate, foundation.accounts, keys, caller, account_id, admin_name, admin_password
            )

        foundation.gate.run(Access(caller, Action.SYSTEM_INIT, SITE), act)
        epoch = foundation.log.epoch
    finally:
        keys.close()
        foundation.close()
    return account_id, None if epoch is None else str(epoch.key)


def _create_administrator(
    gate: Gate,
    accounts: Accounts,
    keys: KeyProcessClient,
    caller: Caller,
    account_id: str,
    name: str,
    password: str,
) -> None:
    resource = account_ref(account_id)
    roles = [Role.ADMINISTRATOR, Role.CUSTODIAN]

    def act(permit: Permit) -> None:
        private, public = new_personal_key()
        key = keys.wrap_person_key(permit, resource, private)
        permit.note(roles=sorted(roles))
        accounts.create(
            permit, account_id, name, password, roles, personal_public_key=public, personal_key_id=key.id
        )

    entity = account_entity(account_id, [], active=True)
    gate.run(Access(caller, Action.ACCOUNT_CREATE, resource, entities=(entity,)), act)


def _part_of(folder: Path) -> Path:
    """What a folder is called until it is whole."""
    return folder.with_name(f".{folder.name}.init")


def _remove_unfinished(making: Settings) -> None:
    """Remove what this init, or one that was killed, made so far; never anything under its real name."""
    shutil.rmtree(making.data_dir, ignore_errors=True)
    if making.key_store_dir is not None:
        shutil.rmtree(making.key_store_dir, ignore_errors=True)


def _give_name(part: Path, target: Path) -> None:
    """Let a whole folder take its name; durable on return."""
    if target.exists():
        target.rmdir()
    part.rename(target)
    _sync(target.parent)


def _require_free(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise BadInput(f"{target} is not a folder.", "Name a new folder with --data.")
    if target.is_dir() and any(target.iterdir()):
        raise Conflict(
            f"There is something in {target} already.",
            "If it is a site, start it with `strongroom serve`; otherwise name another folder with --data.",
        )


def _require_reachable(target: Path) -> None:
    """QEMU runs as another user: every folder above the disks must let others pass."""
    for folder in (*target.parents, *target.resolve().parents):
        if folder.exists() and not folder.stat().st_mode & 0o001:
            raise BadInput(
                f"QEMU cannot enter {folder}, so guests' disks in {target} could not be used.",
                "Choose a folder below /var/lib/strongroom, or let others pass through this one (chmod o+x).",
            )


def _make_way(target: Path) -> None:
    """Make the folders above the site, enterable whatever the umask says."""
    for folder in reversed([folder for folder in target.parents if not folder.exists()]):
        folder.mkdir()
        folder.chmod(_WAY_MODE)


def _write_session_key(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(32))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
