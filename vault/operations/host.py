"""What `strongroom doctor` finds on this host: what is there, what is missing, and what mends it."""

import difflib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from policies.errors import StrongroomError
from policies.vocabulary import Action
from vault.config import Settings
from vault.entities import HOST
from vault.errors import BadInput
from vault.gate import Access, Caller
from vault.guests.accelerator import AcceleratorFinder
from vault.guests.host_memory import HostLayout, check_host_memory, prepare_host_memory
from vault.guests.libvirt_connection import LibvirtConnection
from vault.operations import host_checks, host_mending
from vault.operations.figures import LEAST_FREE_BYTES
from vault.operations.host_checks import item
from vault.site import Site

_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "cryptsetup": "cryptsetup-bin",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "nft": "nftables",
    "dnsmasq": "dnsmasq-base",
}


def inspect(site: Site, caller: Caller) -> dict[str, Any]:
    """Inspect the host on behalf of somebody who may."""
    return site.gate.read(
        Access(caller, Action.HOST_INSPECT, HOST), lambda: inspect_host(site.settings, daemon_runs=True)
    )


def inspect_host(
    settings: Settings,
    *,
    fix: bool = False,
    only: str | None = None,
    daemon_runs: bool = True,
    agree: Callable[[str], bool] = lambda _question: False,
) -> dict[str, Any]:
    """Look at the host; with `fix`, first mend what can be mended from here. Can be run again at any time.

    Args:
        only: look at (and mend) this alone; a name of `CHECKS`.
        daemon_runs: whether a daemon serves the instance: what may be its own is then no leftover.
        agree: asked before what is not harmless in every case.

    Returns:
        items, each with name, level (`ok`, `advice`, `missing`), ok, sentence and remedy; and what was done.

    Raises:
        BadInput: there is no such check.
        HostFailure, Conflict: mending failed; the sentence says why.
    """
    if only is not None and only not in CHECKS:
        near = difflib.get_close_matches(only, list(CHECKS), n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(CHECKS)}."
        raise BadInput(f"Nothing here is called {only!r}.", hint)
    chosen = [only] if only is not None else list(CHECKS)
    done: list[str] = []
    if fix:
        menders: Mapping[str, Callable[[], list[str]]] = {
            "memory": lambda: prepare_host_memory(HostLayout(ram_dir=settings.run_dir)),
            "files": lambda: host_mending.close_files(settings),
            "leftovers": lambda: [] if daemon_runs else host_mending.remove_leftovers(settings),
            "certificate": lambda: host_mending.renew_certificate(settings, agree),
        }
        done = [sentence for name in chosen if name in menders for sentence in menders[name]()]
    items = [found for name in chosen for found in CHECKS[name](settings, daemon_runs)]
    return {"items": items, "next": None, "done": done}


def _interpreter(_settings: Settings, _daemon_runs: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001 - shape of a check
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield item("python", f"Python {version}.")
    if os.geteuid() != 0:
        yield item("rights", "Strongroom is not run as root.", "Run it as root, or with sudo.")


def _programs(_settings: Settings, _daemon_runs: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001 - shape of a check
    missing = {program: package for program, package in _PROGRAMS.items() if shutil.which(program) is None}
    if not missing:
        yield item("programs", f"{', '.join(_PROGRAMS)} are there.")
    for program, package in missing.items():
        yield item("programs", f"{program} is missing.", f"apt-get install {package}")


def _libvirt(settings: Settings, _daemon_runs: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001 - shape of a check
    connection = LibvirtConnection(settings.libvirt_uri)
    try:
        connection.get()
        yield item("libvirt", f"libvirt answers at {settings.libvirt_uri}.")
        yield from host_checks.virtlogd()
    except StrongroomError as error:
        yield item("libvirt", error.message, error.hint)
    finally:
        connection.close()


def _memory(settings: Settings, _daemon_runs: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001 - shape of a check
    layout = HostLayout(ram_dir=settings.run_dir)
    findings = check_host_memory(layout)
    if not findings:
        yield item("memory", "What libvirt keeps of a key lies on memory that does not swap.")
    for finding in findings:
        yield item("memory", finding.sentence, finding.remedy)


def _space(settings: Settings, _daemon_runs: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001 - shape of a check
    existing = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    closed = [folder for folder in (existing, *existing.parents) if not folder.stat().st_mode & 0o001]
    if closed:
        yield item(
            "data folder",
            f"QEMU cannot enter {closed[-1]}, so guests' disks in {settings.data_dir} cannot be used.",
            "Choose a folder below /var/lib/strongroom with --data.",
        )
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < LEAST_FREE_BYTES:
        yield item(
            "space",
            f"Only {free_bytes // 2**20} MiB are free for {settings.data_dir}.",
            "Make room for guests' disks.",
        )
    else:
        yield item("space", f"{free_bytes // 2**30} GiB are free for {settings.data_dir}.")


def _accelerator(settings: Settings, _daemon_runs: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001 - shape of a check
    found = AcceleratorFinder(settings.accelerator, settings.cache_dir).find()
    # Software emulation is slow and works: told, and not counted as something to mend.
    yield item("accelerator", f"{found.kind}: {found.reason}")


#: What is looked at, by the name that `--only` takes.
CHECKS: Mapping[str, Callable[[Settings, bool], Iterable[dict[str, Any]]]] = {
    "python": _interpreter,
    "programs": _programs,
    "libvirt": _libvirt,
    "memory": _memory,
    "core": host_checks.core_dumps,
    "space": _space,
    "files": host_checks.private_files,
    "leftovers": host_checks.leftovers,
    "clock": host_checks.clock,
    "certificate": host_checks.certificate,
    "settings": host_checks.variables,
    "accelerator": _accelerator,
}
