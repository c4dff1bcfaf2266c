"""The rows of the key store's file as values, and values as they must be to make sense."""

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from policies.vocabulary import EntityRef
from vault.errors import KeyStoreDamaged
from vault.keystore.envelope import WrapContext, WrappedKey
from vault.keystore.keys import KeyInfo, KeyPurpose, read_time
from vault.keystore.lifecycle import KeyState
from vault.keystore.schema import APPLICATION_ID, FORMAT
from vault.keystore.store_errors import damaged

SELECT_KEY = (
    "SELECT id, version, purpose, owner, state, kek_version, intent, created_at, destroyed_at,"
    " nonce, ciphertext FROM wrapped_key"
)


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """Which key store this is: a random id (32 hex digits) and when it was made."""

    id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class KekVersion:
    """A version of the KEK and the value that tells the right one; the KEK itself is not here."""

    version: int
    state: KeyState
    check_value: bytes


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is stored; `wrapped` is None once it is destroyed."""

    info: KeyInfo
    wrapped: WrappedKey | None

    @property
    def context(self) -> WrapContext:
        """What the wrapped key is bound to."""
        return wrap_context(self.info)


def wrap_context(info: KeyInfo) -> WrapContext:
    """What a key with these particulars is bound to when it is wrapped."""
    return WrapContext(info.id, info.version, info.purpose, str(info.owner), info.kek_version)


def stored_key(row: tuple[Any, ...]) -> StoredKey:
    """A key from the columns of `SELECT_KEY`; raises KeyStoreDamaged."""
    try:
        info = KeyInfo(
            id=row[0],
            version=row[1],
            purpose=KeyPurpose(row[2]),
            owner=EntityRef.parse(row[3]),
            state=KeyState(row[4]),
            kek_version=row[5],
            intent=row[6],
            created_at=read_time(row[7]),
            destroyed_at=read_time(row[8]) if row[8] else None,
        )
    except ValueError as error:
        raise damaged() from error
    return StoredKey(info, None if row[10] is None else WrappedKey(row[9], row[10]))


def seal_parameters(written: str) -> dict[str, int | str]:
    """A seal's parameters from their JSON; raises KeyStoreDamaged."""
    try:
        parameters = json.loads(written)
    except ValueError as error:
        raise damaged() from error
    if not isinstance(parameters, dict):
        raise damaged()
    return parameters


def read_identity(connection: sqlite3.Connection) -> StoreIdentity:
    """Which store the file is; raises KeyStoreDamaged where it is none, or of another format."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        raise damaged()
    if version != FORMAT:
        raise KeyStoreDamaged(
            f"The key store has format {version}, and this Strongroom reads format {FORMAT}.",
            "Use the version of Strongroom that wrote it.",
        )
    rows = connection.execute("SELECT id, created_at FROM store").fetchall()
    if len(rows) != 1:
        raise damaged()
    try:
        return StoreIdentity(rows[0][0], read_time(rows[0][1]))
    except ValueError as error:
        raise damaged() from error
