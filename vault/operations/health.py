"""How the site is, part by part, with a tone for each: what the page of health and a watcher ask.

Says nothing about guests or people by name.
"""

from datetime import UTC, datetime
from typing import Any

from policies.vocabulary import Action
from vault.entities import HOST
from vault.gate import Access, Caller
from vault.operations.host import inspect_host
from vault.operations.keystore import status
from vault.operations.log_history import latest_checkpoint
from vault.site import Site
from vault.witnesses.watch import Standing


def health(site: Site, caller: Caller, view: str | None = None) -> dict[str, Any]:
    """Key store, gate, log, hypervisor and host as they are now.

    Returns:
        `status` as everybody may see it; `keys`: more about the key store; `checkpoint`: the newest signed head,
        with its age in seconds and how many records came since; `witnesses`: what each cosigned
        last; `items`: what the host's inspection found.
    """

    def produce() -> dict[str, Any]:
        keys = site.keys.status()
        return {
            "status": status(site),
            "keys": {
                "running": keys.running,
                "kek_version": keys.kek_version,
                "active_keys": keys.active_keys,
                "destroyed_keys": keys.destroyed_keys,
                "failed_unseals": keys.failed_unseals,
                "dumpable": keys.dumpable,
            },
            "checkpoint": _checkpoint(site),
            "witnesses": [_witness(each) for each in site.witnesses.standing()],
            "stopped_by": site.gate.stopped_by,
            "items": inspect_host(site.settings)["items"],
        }

    return site.gate.read(Access(caller, Action.HOST_INSPECT, HOST), produce, view=view)


def _checkpoint(site: Site) -> dict[str, Any] | None:
    newest = latest_checkpoint(site)
    if newest is None or newest["last_record_at"] is None:
        return None
    age = datetime.now(UTC) - datetime.fromisoformat(newest["last_record_at"])
    return {
        "size": newest["size"],
        "root": newest["root"],
        "age_s": max(0, int(age.total_seconds())),
        "records_since": site.log.head().size - newest["size"],
    }


def _witness(standing: Standing) -> dict[str, Any]:
    if standing.last is None:
        return {"name": standing.name, "size": None, "age_s": None}
    size, at = standing.last
    age_s = max(0, int((datetime.now(UTC) - at).total_seconds()))
    return {"name": standing.name, "size": size, "age_s": age_s}
