"""Unseal and seal the key store; the status that anyone may see."""

import importlib.metadata
import threading
from typing import Any

from policies.vocabulary import Action
from vault.entities import KEY_STORE
from vault.gate import Access, Caller
from vault.keystore.secret import SecretBytes
from vault.operations.agreement import compare, tell
from vault.operations.autostart import start_marked_guests
from vault.permit import Permit
from vault.site import Site

#: The code of the finding that the key store cannot be used; closed by the next unseal.
UNUSABLE = "keystore.unusable"


def status(site: Site) -> dict[str, Any]:
    """How the site is, without anything about guests or people: not an access.

    So that a sealed site can be seen.
    """
    keys = site.keys.status()
    head = site.log.head()
    versions = site.host.versions()
    return {
        "instance": site.settings.instance,
        "version": importlib.metadata.version("strongroom"),
        "sealed": keys.sealed,
        "seal": ", ".join(keys.seals),
        "gate": "stopped" if site.gate.stopped_by else "acting",
        "log": {"size": head.size, "root": head.root.hex()},
        "hypervisor": f"libvirt {versions.libvirt}, QEMU {versions.qemu}",
        "accelerator": site.accelerators.known_kind(),
    }


def unseal(
    site: Site, caller: Caller, passphrase: bytearray, *, accept_older: bool = False
) -> dict[str, Any]:
    """Open the key store; jobs that wait for it begin, and guests that are marked so start, in the background.

    Args:
        passphrase: wiped here.
        accept_older: go on with a key store that is older than the state, because the newest copy is lost.

    Raises:
        UnsealFailed: the passphrase does not open the seal.
        KeyStoreMissing, KeyStoreDamaged: the key store is not there, or is no sound one.
        KeyStoreOlder: it lacks what the state knows of it, and that was not accepted.
    """

    def act(permit: Permit) -> None:
        found = compare(site)
        tell(site, found)
        if found.key_store_is_older:
            permit.note(
                keys_missing=len(found.missing), keys_revived=len(found.revived), accepted=accept_older
            )
            if not accept_older or found.foreign:
                raise found.refusal()
        site.keys.unseal(permit, passphrase)
        site.findings.close(UNUSABLE, str(KEY_STORE))

    with SecretBytes(passphrase):  # wiped also when the policy refuses and `act` is never called
        site.gate.run(Access(caller, Action.KEYSTORE_UNSEAL, KEY_STORE), act)
    site.jobs.unsealed()
    starting = threading.Thread(target=start_marked_guests, args=(site,), name="autostart", daemon=True)
    starting.start()
    site.closers.append(starting.join)  # no start goes on while the parts it needs are closed
    return status(site)


def seal(site: Site, caller: Caller) -> dict[str, Any]:
    """Forget the root key. Guests that run go on; works without the log (safe direction)."""
    site.gate.run_safe(Access(caller, Action.KEYSTORE_SEAL, KEY_STORE), site.keys.seal)
    return status(site)
