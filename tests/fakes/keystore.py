"""The key service in memory: no process, no file, no cryptography; the same answers.

tests/contract/test_key_service.py holds it and the real one to the same sentences.
"""

import base64
import secrets
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from policies.vocabulary import Action, EntityRef, EntityType
from vault.errors import BadInput, Conflict, KeyUnavailable, NotFound, Sealed, UnsealFailed
from vault.keystore.keys import PASSPHRASE_PURPOSES, KeyInfo, KeyPurpose, KeyStoreStatus
from vault.keystore.lifecycle import KeyState, require_transition
from vault.keystore.secret import DiskPassphrase, SecretBytes
from vault.keystore.warrant import KEY_STORE, Command, Warrants, resource_of
from vault.permit import Permit


@dataclass
class _Held:
    info: KeyInfo
    secret: bytes | None


class FakeKeyService:
    """Keys in a dictionary.

    Args:
        passphrase: what unseals it.
        warrants: the check against the log; None lets the permit alone decide, for tests of what lies above.
        sealed: how it begins; the real one begins sealed.
    """

    def __init__(
        self,
        passphrase: bytes = b"correct horse battery",
        warrants: Warrants | None = None,
        *,
        sealed: bool = True,
    ) -> None:
        self._passphrase = passphrase
        self._warrants = warrants
        self._sealed = sealed
        self._failures = 0
        self._held: dict[str, _Held] = {}

    def status(self) -> KeyStoreStatus:
        states = [held.info.state for held in self._held.values()]
        return KeyStoreStatus(
            running=True,
            sealed=self._sealed,
            store_id="0" * 32,
            seals=("passphrase",),
            kek_version=1,
            active_keys=states.count(KeyState.ACTIVE),
            destroyed_keys=states.count(KeyState.DESTROYED),
            failed_unseals=self._failures,
            pid=None,
        )

    def unseal(self, permit: Permit, untrusted_secret: bytearray, seal: str = "passphrase") -> None:
        permit.require(resource_of(permit.action, KEY_STORE), Action.KEYSTORE_UNSEAL, Action.SYSTEM_INIT)
        with SecretBytes(untrusted_secret) as secret:
            self._warrant(Command.UNSEAL, permit, KEY_STORE)
            if not self._sealed:
                raise Conflict("The key store is unsealed already.")
            if seal != "passphrase":
                raise BadInput("The key store has no seal of this kind.")
            if secret.reveal() != self._passphrase:
                self._failures += 1
                raise UnsealFailed("The passphrase does not open the key store.")
            self._sealed, self._failures = False, 0

    def seal(self, permit: Permit) -> None:
        permit.require(KEY_STORE, Action.KEYSTORE_SEAL)
        self._sealed = True

    def create_key(self, permit: Permit, guest: EntityRef, purpose: KeyPurpose = KeyPurpose.DISK) -> KeyInfo:
        permit.require(guest, Action.GUEST_CREATE)
        if purpose not in PASSPHRASE_PURPOSES or guest.type is not EntityType.GUEST:
            raise BadInput("A disk's key belongs to a guest, for a disk or a seed.")
        self._warrant(Command.CREATE_KEY, permit, guest)
        text = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=")
        return self._hold(permit, guest, purpose, text)

    def unwrap_key(self, permit: Permit, guest: EntityRef, key_id: str) -> DiskPassphrase:
        permit.require(guest, Action.GUEST_CREATE, Action.GUEST_START)
        held = self._find(key_id)
        if held.info.purpose not in PASSPHRASE_PURPOSES:
            raise KeyUnavailable("This key is no passphrase of a disk.")
        self._warrant(Command.UNWRAP_KEY, permit, held.info.owner)
        return DiskPassphrase(self._open(held))

    def destroy_key(self, permit: Permit, guest: EntityRef, key_id: str) -> KeyInfo:
        permit.require(
            resource_of(permit.action, guest), Action.GUEST_DELETE, Action.GUEST_CREATE, Action.SYSTEM_RECOVER
        )
        held = self._find(key_id)
        if self._warrants is not None:
            intent = self._warrants.require(Command.DESTROY_KEY, permit.intent, held.info.owner)
            if held.info.state is not KeyState.DESTROYED:
                self._warrants.require_rollback_only(intent, held.info.intent)
        if held.info.state is not KeyState.DESTROYED:
            require_transition(held.info.state, KeyState.DESTROYED)
            held.info = replace(held.info, state=KeyState.DESTROYED, destroyed_at=datetime.now(UTC))
            held.secret = None
        return held.info

    def wrap_person_key(self, permit: Permit, account: EntityRef, private_key: bytearray) -> KeyInfo:
        permit.require(
            resource_of(permit.action, account),
            Action.ACCOUNT_CREATE,
            Action.KEYSTORE_UNSEAL,
            Action.SYSTEM_INIT,
        )
        with SecretBytes(private_key) as secret:
            if account.type is not EntityType.ACCOUNT or not secret:
                raise BadInput("A person's key belongs to an account, and has 1 to 4,096 bytes.")
            self._warrant(Command.WRAP_PERSON_KEY, permit, account)
            if self._person_key(account) is not None:
                raise Conflict("This account has a personal key already.")
            return self._hold(permit, account, KeyPurpose.PERSON, secret.reveal())

    def unwrap_person_key(self, permit: Permit, account: EntityRef) -> SecretBytes:
        permit.require(resource_of(permit.action, account), Action.LOG_SHOW, Action.REPORT_CREATE)
        self._warrant(Command.UNWRAP_PERSON_KEY, permit, account)
        held = self._person_key(account)
        if held is None:
            raise KeyUnavailable("This account has no personal key, or it was destroyed.")
        return SecretBytes(self._open(held))

    def list_keys(self, owner: EntityRef | None = None) -> list[KeyInfo]:
        keys = [held.info for held in self._held.values() if owner is None or held.info.owner == owner]
        return sorted(keys, key=lambda info: info.id)

    def show_key(self, key_id: str) -> KeyInfo:
        return self._find(key_id).info

    def _warrant(self, command: Command, permit: Permit, owner: EntityRef) -> None:
        if self._warrants is not None:
            self._warrants.require(command, permit.intent, owner)

    def _hold(self, permit: Permit, owner: EntityRef, purpose: KeyPurpose, secret: bytes) -> KeyInfo:
        self._require_unsealed()
        info = KeyInfo(
            id=str(uuid.uuid4()),
            version=1,
            purpose=purpose,
            owner=owner,
            state=KeyState.ACTIVE,
            kek_version=1,
            intent=permit.intent,
            created_at=datetime.now(UTC),
        )
        self._held[info.id] = _Held(info, secret)
        return info

    def _find(self, key_id: str) -> _Held:
        if key_id not in self._held:
            raise NotFound("There is no such key.")
        return self._held[key_id]

    def _person_key(self, account: EntityRef) -> _Held | None:
        for held in self._held.values():
            if held.info.owner == account and held.secret is not None:
                return held
        return None

    def _open(self, held: _Held) -> bytes:
        if held.secret is None:
            raise KeyUnavailable(f"This key is {held.info.state}.")
        self._require_unsealed()
        return held.secret

    def _require_unsealed(self) -> None:
        if self._sealed:
            raise Sealed("The key store is sealed.")
