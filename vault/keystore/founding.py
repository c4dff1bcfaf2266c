"""Makes a new key store: the first KEK, in its seal, in a file that appears whole or not at all.

Used by `strongroom init`, which runs without the daemon and records what it did in the log it makes.
"""

import secrets
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import rfc8785

from audit.log.durable import sync_directory
from vault.errors import Conflict, HostFailure
from vault.keystore.envelope import KEK_BYTES, key_check_value, wipe
from vault.keystore.keys import written_time
from vault.keystore.lifecycle import KeyState
from vault.keystore.private_files import FILE_MODE, make_private_folder
from vault.keystore.rows import StoreIdentity
from vault.keystore.schema import APPLICATION_ID, FORMAT, TABLES
from vault.keystore.seals.seal import Seal, SealContext, SealedKek
from vault.keystore.store import FILE_NAME

FIRST_KEK_VERSION = 1
_UNFINISHED = f"{FILE_NAME}.part"


def init_store(folder: Path, seal: Seal, untrusted_secret: bytearray) -> StoreIdentity:
    """Make a key store in `folder` (made too if absent), with a fresh KEK in `seal`.

    Args:
        folder: where `keys.db` is to lie; its parent must exist.
        seal: the kind of seal.
        untrusted_secret: what will open the seal, such as a passphrase without its file's newline; it stays
            the caller's to wipe.

    Returns:
        the new store's id and time.

    Raises:
        Conflict: there is a key store already; it is left as it is.
        BadInput: the secret breaks the seal's rules.
        HostUnprotected: the folder exists, and others may enter it.
        HostFailure: the storage failed.
    """
    make_private_folder(folder)
    store = folder / FILE_NAME
    if store.exists() or store.is_symlink():
        raise Conflict(
            f"There is a key store in {folder} already.", "Choose another data folder, or use what is there."
        )
    identity = StoreIdentity(secrets.token_hex(16), datetime.now(UTC))
    kek = bytearray(secrets.token_bytes(KEK_BYTES))
    try:
        sealed = seal.seal(kek, SealContext(identity.id, FIRST_KEK_VERSION), untrusted_secret)
        check_value = key_check_value(kek)
    finally:
        wipe(kek)
    unfinished = folder / _UNFINISHED
    try:
        # What an init that was killed left: it never became a store, and nothing is wrapped under its KEK.
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=FILE_MODE, exist_ok=False)
        _write(unfinished, identity, sealed, check_value)
        unfinished.rename(store)
        sync_directory(folder)
    except (OSError, sqlite3.Error) as error:
        raise HostFailure(
            f"The key store could not be written to {folder}.",
            "Look at the space and the rights there, then try again.",
        ) from error
    return identity


def _write(file: Path, identity: StoreIdentity, sealed: SealedKek, check_value: bytes) -> None:
    created_at = written_time(identity.created_at)
    parameters = rfc8785.dumps(dict(sealed.parameters)).decode("utf-8")
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        # A plain rollback journal while nobody knows the file; FULL forces the file to the disk before it is
        # renamed.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(TABLES)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO store (id, created_at) VALUES (?, ?)", (identity.id, created_at))
        connection.execute(
            "INSERT INTO kek (version, state, check_value, created_at) VALUES (?, ?, ?, ?)",
            (FIRST_KEK_VERSION, KeyState.ACTIVE, check_value, created_at),
        )
        connection.execute(
            "INSERT INTO seal (id, kind, kek_version, parameters, ciphertext, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                secrets.token_hex(16),
                sealed.kind,
                FIRST_KEK_VERSION,
                parameters,
                sealed.ciphertext,
                created_at,
            ),
        )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    finally:
        connection.close()
