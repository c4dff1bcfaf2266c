"""What `strongroom doctor` looks at on this host beyond programs and memory: files, leftovers, clock."""

import ctypes
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from policies.errors import StrongroomError
from vault.config import Settings, unknown_variables
from vault.guests.libvirt_connection import LibvirtConnection
from vault.guests.libvirt_secrets import count_secrets_of
from vault.model import utc_now
from vault.operations.figures import CERTIFICATE_NOTICE
from vault.tls import certificate_expires_at

_CORE_PATTERN: Final = Path("/proc/sys/kernel/core_pattern")
_VIRTLOGD: Final = Path("/run/libvirt/virtlogd-sock")
_OTHERS: Final = 0o077
#: Certificates are for everybody to read.
_CERTIFICATE: Final = ".crt"
#: adjtimex(2): bit of `status` that is set while nothing synchronises the clock.
_UNSYNCHRONISED: Final = 0x40
_TIMEX_BYTES: Final = 512
_STATUS_AT: Final = 5  # in longs; modes, offset, freq, maxerror and esterror come before it
_MAXERROR_AT: Final = 3


def item(name: str, sentence: str, remedy: str = "", *, advice: bool = False) -> dict[str, Any]:
    """One line of the doctor's list. Without a remedy all is well; advice is worth doing and keeps nothing back."""
    level = "ok" if not remedy else "advice" if advice else "missing"
    return {"name": name, "ok": level != "missing", "level": level, "sentence": sentence, "remedy": remedy}


def virtlogd() -> Iterator[dict[str, Any]]:
    """Whether libvirt's log daemon answers: without it no guest starts."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as way:
        try:
            way.connect(str(_VIRTLOGD))
        except OSError:
            yield item(
                "libvirt",
                "virtlogd does not answer, so guests cannot start.",
                "systemctl start virtlogd.socket (without systemd: virtlogd -d)",
            )


def core_dumps(_settings: Settings, _daemon_runs: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001 - shape of a check
    """Where the kernel sends what a crashed program held in memory."""
    pattern = _CORE_PATTERN.read_text(encoding="utf-8").strip()
    if pattern.startswith("|"):
        yield item(
            "core dumps",
            "The kernel hands core dumps to a program, which no limit of ours keeps from storing them (the key process "
            "is never dumped).",
            "Forbid it: `Storage=none` in /etc/systemd/coredump.conf, or `sysctl kernel.core_pattern=core`.",
            advice=True,
        )
    else:
        yield item(
            "core dumps", "The daemon's limit of 0 holds: nothing of its memory is written by a crash."
        )


def private_files(settings: Settings, _daemon_runs: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001
    """Whether others can read what is ours alone."""
    loose = list(open_to_others(settings))
    for path in loose:
        yield item("files", f"Others can read {path}.", f"chmod go= {path}")
    if not loose:
        yield item("files", "Others can read no key, no log and no state.")


def open_to_others(settings: Settings) -> Iterator[Path]:
    """Files that others may read or write and should not: keys, log, state, the daemon's log."""
    places = [settings.secrets_dir, settings.keystore_dir]
    inside = [path for folder in places if folder.is_dir() for path in sorted(folder.iterdir())]
    databases = [
        path.with_name(path.name + ending)
        for path in (settings.log_db, settings.state_db) for ending in ("", "-wal", "-shm")
    ]  # fmt: skip
    beside = [settings.data_dir / name for name in ("daemon.log", "safe-actions.jsonl", "reports", "exports")]
    for path in [*places, *inside, *databases, *beside]:
        if path.suffix != _CERTIFICATE and path.exists() and stat.S_IMODE(path.stat().st_mode) & _OTHERS:
            yield path


def leftovers(settings: Settings, daemon_runs: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001
    """What a killed daemon may have left: keys defined in libvirt, files in memory."""
    if daemon_runs:
        yield item("leftovers", "The daemon runs and looks after them.")
        return
    files = sum(1 for _ in settings.memory_dir.iterdir()) if settings.memory_dir.is_dir() else 0
    connection = LibvirtConnection(settings.libvirt_uri)
    try:
        secrets = count_secrets_of(connection.get(), settings.instance)
    except StrongroomError:
        secrets = 0  # libvirt's own line says that it does not answer, and one that is not there holds no key
    finally:
        connection.close()
    if files or secrets:
        yield item(
            "leftovers",
            f"A daemon that was killed left {files} files in memory and {secrets} keys in libvirt.",
            "Run `strongroom doctor --fix`, or start the daemon: it removes them first.",
        )
    else:
        yield item("leftovers", "No key and no file of a killed daemon is left.")


def clock(_settings: Settings, _daemon_runs: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001
    """Whether the kernel says that something keeps the clock right (PCI 10.6.1)."""
    # A buffer larger than any kernel's struct timex; modes 0 only reads.
    buffer = (ctypes.c_long * (_TIMEX_BYTES // ctypes.sizeof(ctypes.c_long)))()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(buffer)) < 0:
        yield item(
            "clock",
            "The kernel does not say how right the clock is.",
            "Look at your time service.",
            advice=True,
        )
    elif buffer[_STATUS_AT] & _UNSYNCHRONISED:
        yield item(
            "clock",
            "Nothing synchronises the clock, so the times in the log may be wrong (PCI 10.6.1).",
            "Run a time service: apt-get install chrony.",
            advice=True,
        )
    else:
        yield item("clock", f"The clock is synchronised, to {buffer[_MAXERROR_AT] // 1000} ms at worst.")


def certificate(settings: Settings, _daemon_runs: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001
    """How long the daemon's certificate lives."""
    if not settings.secrets_dir.is_dir():
        return  # there is no site yet
    try:
        end = certificate_expires_at(settings.secrets_dir)
    except StrongroomError as error:
        yield item("certificate", error.message, error.hint)
        return
    left = end - utc_now()
    if left.total_seconds() <= 0:
        yield item(
            "certificate", f"The daemon's certificate expired on {end:%Y-%m-%d}.", "strongroom doctor --fix"
        )
    elif left < CERTIFICATE_NOTICE:
        yield item(
            "certificate", f"The daemon's certificate expires on {end:%Y-%m-%d}.", "strongroom doctor --fix",
            advice=True,
        )  # fmt: skip
    else:
        yield item("certificate", f"The daemon's certificate is good until {end:%Y-%m-%d}.")


def variables(_settings: Settings, _daemon_runs: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001
    """Variables that look like settings and are none."""
    for sentence in unknown_variables():
        yield item(
            "settings", sentence, "Mend or unset it; `strongroom settings` shows what there is.", advice=True
        )
