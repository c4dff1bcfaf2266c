"""What `strongroom doctor` finds on this host: what is there, what is missing, and what mends it."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from policies.errors import StrongroomError
from policies.vocabulary import Action
from vault.config import Settings
from vault.entities import HOST
from vault.gate import Access, Caller
from vault.guests.accelerator import AcceleratorFinder
from vault.guests.host_memory import HostLayout, check_host_memory, prepare_host_memory
from vault.guests.libvirt_connection import LibvirtConnection
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
_LEAST_FREE_BYTES = 5 * 2**30
_PRIVATE_MODE = 0o077


def inspect(site: Site, caller: Caller) -> dict[str, Any]:
    """Inspect the host on behalf of somebody who may."""
    return site.gate.read(Access(caller, Action.HOST_INSPECT, HOST), lambda: inspect_host(site.settings))


def inspect_host(settings: Settings, *, fix: bool = False) -> dict[str, Any]:
    """Look at the host; with `fix`, first mend what can be mended from here.

    Returns:
        items, each with name, ok, sentence and remedy; and with `fix` what was done.

    Raises:
        HostFailure, Conflict: mending failed; the sentence says why.
    """
    layout = HostLayout(ram_dir=settings.run_dir)
    done = prepare_host_memory(layout) if fix else []
    found = [
        *_interpreter(),
        *_programs(),
        *_libvirt(settings),
        *_memory(layout),
        *_folders(settings),
        *_accelerator(settings),
    ]
    return {"items": found, "next": None, "done": done}


def _item(name: str, sentence: str, remedy: str = "") -> dict[str, Any]:
    return {"name": name, "ok": not remedy, "sentence": sentence, "remedy": remedy}


def _interpreter() -> Iterator[dict[str, Any]]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield _item("python", f"Python {version}.")
    if os.geteuid() != 0:
        yield _item("rights", "Strongroom is not run as root.", "Run it as root, or with sudo.")


def _programs() -> Iterator[dict[str, Any]]:
    missing = {program: package for program, package in _PROGRAMS.items() if shutil.which(program) is None}
    if not missing:
        yield _item("programs", f"{', '.join(_PROGRAMS)} are there.")
    for program, package in missing.items():
        yield _item("programs", f"{program} is missing.", f"apt-get install {package}")


def _libvirt(settings: Settings) -> Iterator[dict[str, Any]]:
    connection = LibvirtConnection(settings.libvirt_uri)
    try:
        connection.get()
        yield _item("libvirt", f"libvirt answers at {settings.libvirt_uri}.")
    except StrongroomError as error:
        yield _item("libvirt", error.message, error.hint)
    finally:
        connection.close()


def _memory(layout: HostLayout) -> Iterator[dict[str, Any]]:
    findings = check_host_memory(layout)
    if not findings:
        yield _item("memory", "What libvirt keeps of a key lies on memory that does not swap.")
    for finding in findings:
        yield _item("memory", finding.sentence, finding.remedy)


def _folders(settings: Settings) -> Iterator[dict[str, Any]]:
    existing = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    closed = [folder for folder in (existing, *existing.parents) if not folder.stat().st_mode & 0o001]
    if closed:
        yield _item(
            "data folder",
            f"QEMU cannot enter {closed[-1]}, so guests' disks in {settings.data_dir} cannot be used.",
            "Choose a folder below /var/lib/strongroom with --data.",
        )
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < _LEAST_FREE_BYTES:
        yield _item(
            "space",
            f"Only {free_bytes // 2**20} MiB are free for {settings.data_dir}.",
            "Make room for guests' disks.",
        )
    else:
        yield _item("space", f"{free_bytes // 2**30} GiB are free for {settings.data_dir}.")
    loose = [
        path for path in _private_files(settings) if path.exists() and path.stat().st_mode & _PRIVATE_MODE
    ]
    for path in loose:
        yield _item("file rights", f"Others can read {path}.", f"chmod go= {path}")


def _private_files(settings: Settings) -> list[Path]:
    names = ("log.key", "tls.key", "session.key")
    return [settings.log_db, settings.state_db, *(settings.secrets_dir / name for name in names)]


def _accelerator(settings: Settings) -> Iterator[dict[str, Any]]:
    found = AcceleratorFinder(settings.accelerator, settings.cache_dir).find()
    # Software emulation is slow and works: told, and not counted as something to mend.
    yield _item("accelerator", f"{found.kind}: {found.reason}")
