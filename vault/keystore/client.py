"""The key service: what the rest of the vault may ask of the key store.

Whoever asks for an effect shows a permit; the key process then reads the permit's intent in the log by
itself. No KEK ever enters the daemon; a disk's passphrase does, for as long as one operation needs it.
"""

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

from policies.vocabulary import Action, EntityRef
from vault.errors import HostFailure, KeyStoreDamaged, Sealed, UnsealFailed
from vault.keystore.child import ANSWER_WITHIN_S, MODULE, KeyProcess
from vault.keystore.keys import KeyInfo, KeyPurpose, KeyStoreStatus
from vault.keystore.secret import DiskPassphrase, SecretBytes
from vault.keystore.throttle import UnsealThrottle
from vault.keystore.warrant import KEY_STORE, resource_of
from vault.keystore.wire import Frame
from vault.permit import Permit


class KeyService(Protocol):
    """Custody of keys as the vault sees it.

    Effects raise, beside what they name: `Sealed`; `IntentRefused` when the log holds no fitting intent;
    `KeyUnavailable` and `DecryptionFailed` when a key cannot be had; `HostFailure` when the storage failed.
    """

    def status(self) -> KeyStoreStatus:
        """How the store is; never raises because it is sealed or its process gone."""

    def unseal(self, permit: Permit, untrusted_secret: bytearray, seal: str = "passphrase") -> None:
        """Open the seal; raises UnsealFailed, or Conflict when it is unsealed already. Wipes the secret."""

    def seal(self, permit: Permit) -> None:
        """Forget the KEK; works without the log (safe direction)."""

    def create_key(self, permit: Permit, guest: EntityRef, purpose: KeyPurpose = KeyPurpose.DISK) -> KeyInfo:
        """Make and store a passphrase for a disk of `guest`."""

    def unwrap_key(self, permit: Permit, guest: EntityRef, key_id: str) -> DiskPassphrase:
        """Open the passphrase of a disk of `guest`; the caller wipes it."""

    def destroy_key(self, permit: Permit, guest: EntityRef, key_id: str) -> KeyInfo:
        """Destroy a key of `guest` for ever; a destroyed one stays destroyed."""

    def wrap_person_key(self, permit: Permit, account: EntityRef, private_key: bytearray) -> KeyInfo:
        """Store the private half of a person's key, and wipe it here; raises Conflict when there is one."""

    def unwrap_person_key(self, permit: Permit, account: EntityRef) -> SecretBytes:
        """Open the private half of a person's key; the caller wipes it."""

    def list_keys(self, owner: EntityRef | None = None) -> list[KeyInfo]:
        """Every key, or every key of one owner, destroyed ones too; works while sealed."""

    def show_key(self, key_id: str) -> KeyInfo:
        """One key; raises NotFound; works while sealed."""


class KeyProcessClient:
    """The key service over the key process."""

    def __init__(
        self,
        store_dir: Path,
        log_path: Path,
        *,
        module: str = MODULE,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        """Take where the store and the log lie; `start` starts the process, sealed."""
        self._process = KeyProcess(store_dir, log_path, module=module, answer_within_s=answer_within_s)
        # The process keeps the same count and would wait itself; waiting here leaves it free to answer
        # others.
        self._throttle = UnsealThrottle()
        self._unseal_turn = threading.Lock()
        self._closed = False

    def start(self) -> Self:
        """Start the process unless it runs; it begins sealed.

        Raises:
            StrongroomError: what kept it from starting.
        """
        self._process.start()
        return self

    def close(self) -> None:
        """End the process, which wipes the KEK."""
        self._closed = True
        self._process.close()

    def status(self) -> KeyStoreStatus:
        """How the store is; a process that is gone counts as sealed, and so does a store that cannot be read."""
        try:
            answer: Mapping[str, Any] = self._process.request("status").document["ok"]
        except (Sealed, KeyStoreDamaged, HostFailure):
            return KeyStoreStatus(running=False, sealed=True)
        return KeyStoreStatus(**{**answer, "seals": tuple(answer["seals"])})

    def unseal(self, permit: Permit, untrusted_secret: bytearray, seal: str = "passphrase") -> None:
        """Open the seal; starts the process again when it is gone."""
        permit.require(resource_of(permit.action, KEY_STORE), Action.KEYSTORE_UNSEAL, Action.SYSTEM_INIT)
        with SecretBytes(untrusted_secret), self._unseal_turn:
            self._throttle.wait()
            if not self.status().running:
                self._process.start()
            try:
                self._process.request("unseal", untrusted_secret, intent=permit.intent, seal=seal)
            except UnsealFailed:
                self._throttle.failed()
                raise
            self._throttle.succeeded()

    def seal(self, permit: Permit) -> None:
        """Forget the KEK; a process that is gone has forgotten it already."""
        permit.require(KEY_STORE, Action.KEYSTORE_SEAL)
        with suppress(Sealed):
            self._process.request("seal")

    def create_key(self, permit: Permit, guest: EntityRef, purpose: KeyPurpose = KeyPurpose.DISK) -> KeyInfo:
        """Make and store a passphrase for a disk of `guest`."""
        permit.require(guest, Action.GUEST_CREATE)
        answer = self._process.request(
            "create_key", intent=permit.intent, owner=str(guest), purpose=str(purpose)
        )
        return KeyInfo.from_document(answer.document["ok"])

    def unwrap_key(self, permit: Permit, guest: EntityRef, key_id: str) -> DiskPassphrase:
        """Open the passphrase of a disk of `guest`; the caller wipes it."""
        permit.require(guest, Action.GUEST_CREATE, Action.GUEST_START)
        return DiskPassphrase(self._process.request("unwrap_key", intent=permit.intent, key=key_id).secret)

    def destroy_key(self, permit: Permit, guest: EntityRef, key_id: str) -> KeyInfo:
        """Destroy a key of `guest` for ever; works while sealed."""
        permit.require(
            resource_of(permit.action, guest), Action.GUEST_DELETE, Action.GUEST_CREATE, Action.SYSTEM_RECOVER
        )
        answer = self._request_while_sealed("destroy_key", intent=permit.intent, key=key_id)
        return KeyInfo.from_document(answer.document["ok"])

    def wrap_person_key(self, permit: Permit, account: EntityRef, private_key: bytearray) -> KeyInfo:
        """Store the private half of a person's key, and wipe it here."""
        permit.require(
            resource_of(permit.action, account),
            Action.ACCOUNT_CREATE,
            Action.KEYSTORE_UNSEAL,
            Action.SYSTEM_INIT,
        )
        with SecretBytes(private_key):
            answer = self._process.request(
                "wrap_person_key", private_key, intent=permit.intent, owner=str(account)
            )
        return KeyInfo.from_document(answer.document["ok"])

    def unwrap_person_key(self, permit: Permit, account: EntityRef) -> SecretBytes:
        """Open the private half of a person's key; the caller wipes it."""
        permit.require(resource_of(permit.action, account), Action.LOG_SHOW, Action.REPORT_CREATE)
        answer = self._process.request("unwrap_person_key", intent=permit.intent, owner=str(account))
        return SecretBytes(answer.secret)

    def list_keys(self, owner: EntityRef | None = None) -> list[KeyInfo]:
        """Every key, or every key of one owner, destroyed ones too."""
        keys: list[KeyInfo] = []
        while True:
            page = self._request_while_sealed(
                "list_keys",
                owner=str(owner) if owner else None,
                after_id=keys[-1].id if keys else "",
                after_version=keys[-1].version if keys else 0,
            ).document["ok"]
            if not page:
                return keys
            keys.extend(KeyInfo.from_document(document) for document in page)

    def show_key(self, key_id: str) -> KeyInfo:
        """One key; raises NotFound."""
        return KeyInfo.from_document(self._process.request("show_key", key=key_id).document["ok"])

    def _request_while_sealed(self, command: str, **arguments: object) -> Frame:
        """Ask for what needs no KEK: a process that is gone is started again, sealed, and asked once more.

        So a creation during which the process died can be taken back.
        """
        try:
            return self._process.request(command, None, **arguments)
        except Sealed:
            if self._closed:
                raise
            self._process.start()
            return self._process.request(command, None, **arguments)
