"""Unseal and seal the key store; the status that anyone may see."""

import importlib.metadata
import threading
from typing import Any

from policies.vocabulary import Action
from vault.entities import KEY_STORE
from vault.gate import Access, Caller
from vault.keystore.secret import SecretBytes
from vault.operations.autostart import start_marked_guests
from vault.permit import Permit
from vault.site import Site


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


def unseal(site: Site, caller: Caller, passphrase: bytearray) -> dict[str, Any]:
    """Open the key store; jobs that wait for it begin, and guests that are marked so start, in the background.

    Args:
        passphrase: wiped here.

    Raises:
        UnsealFailed: the passphrase does not open the seal.
    """

    def act(permit: Permit) -> None:
        site.keys.unseal(permit, passphrase)

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
