"""The key store's file, `keys.db`: sealed KEKs and wrapped keys, never a key in the clear.

A SQLite file of its own in a folder of its own, so that it may lie on another device (decision D10). One
process has it open. What a method has returned from is on the disk: write-ahead log with `synchronous=FULL`,
then moved into the main file at once, so that no older copy of a row stays behind in the log.
"""

import os
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from policies.vocabulary import EntityRef
from vault.errors import KeyStoreDamaged, KeyStoreMissing, NotFound, VaultError
from vault.keystore.envelope import WrappedKey
from vault.keystore.keys import KeyInfo, KeyPurpose, written_time
from vault.keystore.lifecycle import KeyState
from vault.keystore.private_files import require_private_file, require_private_folder
from vault.keystore.rows import (
    SELECT_KEY,
    KekVersion,
    StoredKey,
    read_identity,
    seal_parameters,
    stored_key,
)
from vault.keystore.seals.seal import SealContext, SealedKek
from vault.keystore.store_errors import damaged, translated

FILE_NAME = "keys.db"
#: Keys in one answer of `keys`.
PAGE = 200
_BUSY_WAIT_S = 2.0

T = TypeVar("T")


class KeyStoreFile:
    """The open key store. Not for several threads."""

    def __init__(self, folder: Path) -> None:
        """Open the store in `folder`.

        Raises:
            KeyStoreMissing: there is no key store.
            HostUnprotected: others may reach the folder or a file in it.
            Conflict: another process has it open.
            KeyStoreDamaged: it is no key store, or is damaged.
            HostFailure: the storage failed.
        """
        self._path = folder / FILE_NAME
        try:
            require_private_folder(folder)
            require_private_file(self._path)
        except NotFound as error:
            raise KeyStoreMissing(
                f"There is no key store in {folder}.",
                "Attach the device that holds it, or restore it from its backup, then unseal it.",
            ) from error
        for companion in (
            Path(f"{self._path}-wal"),
            Path(f"{self._path}-journal"),
            Path(f"{self._path}-shm"),
        ):
            if companion.exists():
                require_private_file(companion)
        # Held for as long as SQLite has the file, and closed after it: it tells whether the name still leads
        # to the file that is written, and closing it earlier would drop SQLite's own POSIX locks.
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._connection: sqlite3.Connection | None = None
        try:
            self._connect()
            self.identity = self._read(read_identity)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # -- reads -----------------------------------------------------------------------------

    def kek_versions(self) -> list[KekVersion]:
        """Every KEK version that is not destroyed, oldest first; the last one wraps new keys."""
        rows = self._read(
            lambda db: db.execute(
                "SELECT version, state, check_value FROM kek WHERE state != 'destroyed' ORDER BY version"
            ).fetchall()
        )
        return [KekVersion(version, KeyState(state), check_value) for version, state, check_value in rows]

    def seals(self, kind: str, kek_version: int) -> list[SealedKek]:
        """The seals of one kind that hold one version of the KEK."""
        rows = self._read(
            lambda db: db.execute(
                "SELECT parameters, ciphertext FROM seal WHERE kind = ? AND kek_version = ? ORDER BY id",
                (kind, kek_version),
            ).fetchall()
        )
        context = SealContext(self.identity.id, kek_version)
        return [
            SealedKek(kind, context, seal_parameters(written), ciphertext) for written, ciphertext in rows
        ]

    def seal_kinds(self) -> tuple[str, ...]:
        """Kinds of seals that can open the store, sorted."""
        rows = self._read(lambda db: db.execute("SELECT DISTINCT kind FROM seal ORDER BY kind").fetchall())
        return tuple(kind for (kind,) in rows)

    def key(self, key_id: str) -> StoredKey:
        """The newest version of a key.

        Raises:
            NotFound: there is none with this id.
        """
        row = self._read(
            lambda db: db.execute(
                f"{SELECT_KEY} WHERE id = ? ORDER BY version DESC LIMIT 1", (key_id,)
            ).fetchone()
        )
        if row is None:
            raise NotFound("There is no such key.", "List the keys: strongroom key list")
        return stored_key(row)

    def keys(self, owner: EntityRef | None = None, after: tuple[str, int] = ("", 0)) -> list[KeyInfo]:
        """Keys by id and version, destroyed ones too, at most `PAGE`, from the first after `after`."""
        rows = self._read(
            lambda db: db.execute(
                f"{SELECT_KEY} WHERE (id, version) > (?1, ?2) AND (?3 IS NULL OR owner = ?3)"
                f" ORDER BY id, version LIMIT {PAGE}",
                (*after, str(owner) if owner else None),
            ).fetchall()
        )
        return [stored_key(row).info for row in rows]

    def active_key_of(self, owner: EntityRef, purpose: KeyPurpose) -> StoredKey | None:
        """The active key of an owner for a purpose, None where there is none."""
        row = self._read(
            lambda db: db.execute(
                f"{SELECT_KEY} WHERE owner = ? AND purpose = ? AND state = 'active' ORDER BY id LIMIT 1",
                (str(owner), purpose),
            ).fetchone()
        )
        return None if row is None else stored_key(row)

    def count(self, state: KeyState) -> int:
        """How many keys are in a state."""
        (number,) = self._read(
            lambda db: db.execute("SELECT count(*) FROM wrapped_key WHERE state = ?", (state,)).fetchone()
        )
        return int(number)

    # -- writes ----------------------------------------------------------------------------

    def add_key(self, info: KeyInfo, wrapped: WrappedKey) -> None:
        """Store a new key; durable on return."""
        self._write(
            "INSERT INTO wrapped_key"
            " (id, version, kek_version, purpose, owner, state, nonce, ciphertext, intent, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                info.id,
                info.version,
                info.kek_version,
                info.purpose,
                str(info.owner),
                info.state,
                wrapped.nonce,
                wrapped.ciphertext,
                info.intent,
                written_time(info.created_at),
            ),
        )

    def destroy_key(self, key_id: str, version: int, *, destroyed_at: datetime, intent: str) -> None:
        """Overwrite a wrapped key with zeros and keep only that it existed; durable on return.

        `secure_delete` makes SQLite overwrite what a shorter row leaves free. File systems and flash may keep
        older
        blocks all the same: destruction is complete when the KEK version that wrapped the key is destroyed
        too.
        """
        self._write(
            "UPDATE wrapped_key SET state = 'destroyed', nonce = NULL, ciphertext = NULL, destroyed_at = ?,"
            " destroyed_under = ? WHERE id = ? AND version = ? AND state != 'destroyed'",
            (written_time(destroyed_at), intent, key_id, version),
        )

    # -- the connection ----------------------------------------------------------------------

    def _connect(self) -> None:
        with translated():
            self._connection = sqlite3.connect(self._path, isolation_level=None, timeout=_BUSY_WAIT_S)
            # Exclusive before WAL: the index of the log is then kept in our memory and nobody else gets in.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA secure_delete = ON")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute("PRAGMA trusted_schema = OFF")
            verdict = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != ("ok",):
            raise damaged()

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connect()
        if self._connection is None:  # `_connect` sets it or raises
            raise damaged()
        return self._connection

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        # A store that was taken away hands out nothing more, though its file could still be read.
        self._require_same_file()
        connection = self._open_connection()
        with translated():
            return query(connection)

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        self._require_same_file()
        connection = self._open_connection()
        try:
            with translated():
                connection.execute("BEGIN IMMEDIATE")
                changed = connection.execute(statement, values).rowcount
                connection.execute("COMMIT")
                # Move the rows into the main file and empty the log: nothing superseded stays in it.
                (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except VaultError:
            # After a failed commit only the bytes on the disk say what holds: begin again from them.
            connection.close()
            self._connection = None
            raise
        if busy or changed != 1:
            raise KeyStoreDamaged(
                "The key store did not take a change.", "Seal it, unseal it, then try again."
            )
        self._require_same_file()

    def _require_same_file(self) -> None:
        held = os.fstat(self._descriptor)
        try:
            named = self._path.lstat()
        except OSError:
            named = None
        if named is None or (named.st_dev, named.st_ino) != (held.st_dev, held.st_ino):
            raise KeyStoreMissing(
                f"The file {self._path} was removed or replaced while it was in use, so the key store is sealed.",
                "Attach its device again, or put the right file back, then unseal it; running guests run on.",
            )
