"""The custody of keys: what the key process does with the KEK, apart from how it is asked.

The KEK lives in this object alone, from unseal to seal. Every use or change of a key needs a warrant from the
log; every refusal leaves store and memory as they were.
"""

import base64
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from policies.vocabulary import EntityRef, EntityType
from vault.errors import BadInput, Conflict, DecryptionFailed, KeyUnavailable, Sealed, UnsealFailed
from vault.keystore.envelope import unwrap, verify_check_value, wipe, wrap
from vault.keystore.keys import PASSPHRASE_PURPOSES, KeyInfo, KeyPurpose, KeyStoreStatus
from vault.keystore.lifecycle import KeyState, require_transition
from vault.keystore.rows import StoredKey, wrap_context
from vault.keystore.seals.seal import Seal, SealedKek
from vault.keystore.store import KeyStoreFile
from vault.keystore.throttle import UnsealThrottle
from vault.keystore.warrant import KEY_STORE, Command, IntentRecord, Warrants

#: 256 random bits (decision D6).
PASSPHRASE_ENTROPY_BYTES = 32
#: A personal key is 32 bytes (X25519); room for other algorithms.
MAX_PERSON_KEY_BYTES = 4096


class KeyCustody:
    """Holds a store and, while unsealed, its KEKs. Not for several threads."""

    def __init__(
        self,
        store: KeyStoreFile,
        seals: Mapping[str, Seal],
        warrants: Warrants,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Begin sealed.

        Args:
            store: the open store; closed with this object.
            seals: the kinds of seals this process can open.
            warrants: the check against the log.
            sleep: waits between failed unseals.
        """
        self._store = store
        self._seals = seals
        self._warrants = warrants
        self._throttle = UnsealThrottle(sleep=sleep)
        self._keks: dict[int, bytearray] = {}

    def close(self) -> None:
        """Seal, and close the store."""
        self.seal()
        self._store.close()

    # -- the seal --------------------------------------------------------------------------

    def status(self, pid: int) -> KeyStoreStatus:
        """How the store is; works while sealed."""
        versions = self._store.kek_versions()
        return KeyStoreStatus(
            running=True,
            sealed=not self._keks,
            store_id=self._store.identity.id,
            seals=self._store.seal_kinds(),
            kek_version=versions[-1].version if versions else None,
            active_keys=self._store.count(KeyState.ACTIVE),
            destroyed_keys=self._store.count(KeyState.DESTROYED),
            failed_unseals=self._throttle.failures,
            pid=pid,
        )

    def unseal(self, intent_id: object, kind: str, untrusted_secret: bytearray) -> None:
        """Open the seal and keep the KEK.

        Raises:
            IntentRefused: the log holds no fitting intent.
            Conflict: it is unsealed already.
            BadInput: the store has no seal of this kind.
            UnsealFailed: the secret is not the one; the next try waits a little longer.
        """
        self._warrants.require(Command.UNSEAL, intent_id, KEY_STORE)
        if self._keks:
            raise Conflict("The key store is unsealed already.")
        seal = self._seals.get(kind)
        if seal is None or kind not in self._store.seal_kinds():
            raise BadInput(
                f"The key store has no seal of the kind {kind[:32]!r}.",
                f"It has: {', '.join(self._store.seal_kinds())}.",
            )
        self._throttle.wait()
        try:
            self._keks = self._open_seals(seal, untrusted_secret)
        except UnsealFailed:
            self._throttle.failed()
            raise
        self._throttle.succeeded()

    def seal(self) -> None:
        """Wipe the KEK. Safe at any time; sealing twice is harmless."""
        for kek in self._keks.values():
            wipe(kek)
        self._keks = {}

    # -- passphrases of disks --------------------------------------------------------------

    def create_key(self, intent_id: object, owner: EntityRef, purpose: KeyPurpose) -> KeyInfo:
        """Make a disk's passphrase and store it wrapped; nothing secret is returned.

        Raises:
            Sealed, IntentRefused, BadInput.
        """
        if purpose not in PASSPHRASE_PURPOSES or owner.type is not EntityType.GUEST:
            raise BadInput("A disk's key belongs to a guest, for a disk or a seed.")
        intent = self._warrants.require(Command.CREATE_KEY, intent_id, owner)
        # Text, because QEMU takes a passphrase as UTF-8 text; 43 characters without newline (FACTS).
        text = bytearray(base64.urlsafe_b64encode(secrets.token_bytes(PASSPHRASE_ENTROPY_BYTES)).rstrip(b"="))
        try:
            return self._add_key(intent, owner, purpose, text)
        finally:
            wipe(text)

    def unwrap_key(self, intent_id: object, key_id: str) -> bytearray:
        """Open a disk's passphrase for its owner's intent; the caller wipes it.

        Raises:
            Sealed, NotFound, KeyUnavailable, IntentRefused, DecryptionFailed.
        """
        stored = self._store.key(key_id)
        if stored.info.purpose not in PASSPHRASE_PURPOSES:
            raise KeyUnavailable("This key is no passphrase of a disk.")
        self._warrants.require(Command.UNWRAP_KEY, intent_id, stored.info.owner)
        return self._open(stored)

    def destroy_key(self, intent_id: object, key_id: str) -> KeyInfo:
        """Overwrite a wrapped key for ever; works while sealed. What was destroyed already stays so.

        Raises:
            NotFound, IntentRefused, Conflict.
        """
        stored = self._store.key(key_id)
        intent = self._warrants.require(Command.DESTROY_KEY, intent_id, stored.info.owner)
        if stored.info.state is KeyState.DESTROYED:
            return stored.info  # a deletion that was interrupted after this step is being finished
        self._warrants.require_rollback_only(intent, stored.info.intent)
        require_transition(stored.info.state, KeyState.DESTROYED)
        self._store.destroy_key(
            stored.info.id, stored.info.version, destroyed_at=datetime.now(UTC), intent=intent.id
        )
        return self._store.key(key_id).info

    # -- keys of persons -------------------------------------------------------------------

    def wrap_person_key(self, intent_id: object, account: EntityRef, private_key: bytearray) -> KeyInfo:
        """Store the private half of a person's key.

        Raises:
            Sealed, IntentRefused, BadInput.
            Conflict: the person has one; replacing it would close what was sealed to it.
        """
        if account.type is not EntityType.ACCOUNT or not 1 <= len(private_key) <= MAX_PERSON_KEY_BYTES:
            raise BadInput("A person's key belongs to an account, and has 1 to 4,096 bytes.")
        intent = self._warrants.require(Command.WRAP_PERSON_KEY, intent_id, account)
        if self._store.active_key_of(account, KeyPurpose.PERSON) is not None:
            raise Conflict("This account has a personal key already.")
        return self._add_key(intent, account, KeyPurpose.PERSON, private_key)

    def unwrap_person_key(self, intent_id: object, account: EntityRef) -> bytearray:
        """Open the private half of a person's key; the caller wipes it.

        Raises:
            Sealed, IntentRefused, DecryptionFailed.
            KeyUnavailable: the account has none, or it was destroyed.
        """
        self._warrants.require(Command.UNWRAP_PERSON_KEY, intent_id, account)
        stored = self._store.active_key_of(account, KeyPurpose.PERSON)
        if stored is None:
            raise KeyUnavailable("This account has no personal key, or it was destroyed.")
        return self._open(stored)

    # -- lists; nothing secret, so they work while sealed and need no intent ----------------

    def keys(self, owner: EntityRef | None, after: tuple[str, int]) -> list[KeyInfo]:
        """One page of keys by id and version."""
        return self._store.keys(owner, after)

    def key(self, key_id: str) -> KeyInfo:
        """One key; raises NotFound."""
        return self._store.key(key_id).info

    # -- the KEK ---------------------------------------------------------------------------

    def _open_seals(self, seal: Seal, untrusted_secret: bytearray) -> dict[int, bytearray]:
        """Open every KEK version; all or none."""
        keks: dict[int, bytearray] = {}
        try:
            for version in self._store.kek_versions():
                kek = _open_any(seal, self._store.seals(seal.kind, version.version), untrusted_secret)
                keks[version.version] = kek
                verify_check_value(kek, version.check_value)
        except DecryptionFailed as error:
            _wipe_all(keks)
            raise UnsealFailed(
                "The seal opened, but not to this store's root key.",
                "The key store was mixed up or damaged; restore it from its backup.",
            ) from error
        except BaseException:
            _wipe_all(keks)
            raise
        if not keks:
            raise UnsealFailed("The key store holds no root key.", "Restore it from its backup.")
        return keks

    def _kek(self, version: int) -> bytearray:
        if not self._keks:
            raise Sealed("The key store is sealed.", "Unseal it first: strongroom unseal")
        kek = self._keks.get(version)
        if kek is None:
            raise KeyUnavailable("The version of the root key that wraps this key is not there.")
        return kek

    def _add_key(
        self, intent: IntentRecord, owner: EntityRef, purpose: KeyPurpose, key: bytearray
    ) -> KeyInfo:
        kek_version = max(self._keks, default=0)
        kek = self._kek(kek_version)
        info = KeyInfo(
            id=str(uuid.uuid4()),
            version=1,
            purpose=purpose,
            owner=owner,
            state=KeyState.ACTIVE,
            kek_version=kek_version,
            intent=intent.id,
            created_at=datetime.now(UTC),
        )
        self._store.add_key(info, wrap(kek, key, wrap_context(info)))
        return info

    def _open(self, stored: StoredKey) -> bytearray:
        if stored.info.state is not KeyState.ACTIVE or stored.wrapped is None:
            raise KeyUnavailable(f"This key is {stored.info.state}.")
        return unwrap(self._kek(stored.info.kek_version), stored.wrapped, stored.context)


def _open_any(seal: Seal, candidates: list[SealedKek], untrusted_secret: bytearray) -> bytearray:
    """Open the first of several seals of a kind that opens: two custodians may each have a passphrase."""
    failure = UnsealFailed(
        "A version of the root key is in no seal of this kind.", "Use another kind of seal to unseal."
    )
    for sealed in candidates:
        try:
            return seal.open(sealed, untrusted_secret)
        except UnsealFailed as error:
            failure = error
    raise failure


def _wipe_all(keks: dict[int, bytearray]) -> None:
    for kek in keks.values():
        wipe(kek)
