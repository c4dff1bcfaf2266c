"""systemd's journal of the same records, for comparison. No systemd need run.

`systemd-journal-remote` writes a journal file from text. Where it is not installed it is taken from Debian's package
and put into the cache, not onto the host; `journalctl` comes with systemd.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.bench.subject import NotMeasured
from tests.small_guest import cache_dir

_PROGRAM = Path("lib/systemd/systemd-journal-remote")
_PACKAGES = ("systemd-journal-remote", "libmicrohttpd12")
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu")
_BOOT = "0123456789abcdef0123456789abcdef"
_FIRST_US = 1_767_225_600_000_000  # 2026-01-01


class Journal:
    """Journal files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def write(cls, folder: Path, records: Path) -> Self:
        """Write a journal in which each line of a file is an entry's message.

        Raises:
            NotMeasured: a program is missing and cannot be had.
        """
        if shutil.which("journalctl") is None:
            raise NotMeasured("There is no journalctl here: it comes with systemd.")
        target = folder / "journal"
        target.mkdir()
        program, environment = _journal_remote()
        # Entries in the form of `journalctl -o export`: a field a line, an empty line after each entry.
        writing = subprocess.Popen(
            [program, "--output", str(target / "bench.journal"), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
        )
        with writing, records.open("rb") as lines:
            if writing.stdin is None or writing.stderr is None:
                raise AssertionError("Both were asked for.")
            for number, line in enumerate(lines):
                writing.stdin.write(
                    b"__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%b\nMESSAGE=%b\n"
                    % (_FIRST_US + number, number + 1, _BOOT.encode(), line)
                )
            writing.stdin.close()
            errors = writing.stderr.read()
        if writing.returncode != 0:
            raise NotMeasured(f"systemd-journal-remote failed: {errors.decode(errors='replace').strip()}")
        return cls(target)

    def verify_cpu_s(self) -> float:
        """Verify every file; CPU seconds that `journalctl` took."""
        before = os.times()
        for file in sorted(self._folder.glob("*.journal")):
            ended = subprocess.run(
                ["journalctl", "--verify", "--quiet", "--file", str(file)], capture_output=True, check=False
            )
            if ended.returncode != 0:
                raise NotMeasured("journalctl found its own journal bad.")
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system


def _journal_remote() -> tuple[str, dict[str, str]]:
    installed = Path("/") / _PROGRAM
    if installed.exists():
        return str(installed), dict(os.environ)
    kept = cache_dir() / "bench" / "journal-remote"
    if not (kept / _PROGRAM).exists():
        _unpack(kept)
    libraries = ":".join([*(str(kept / each) for each in _LIBRARIES), "/lib/systemd", "/usr/lib/systemd"])
    return str(kept / _PROGRAM), {**os.environ, "LD_LIBRARY_PATH": libraries}


def _unpack(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *_PACKAGES, cwd=folder)
            for package in sorted(Path(folder).glob("*.deb")):
                _run("dpkg-deb", "-x", str(package), str(target))
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(target, ignore_errors=True)
        raise NotMeasured("systemd-journal-remote is not installed and cannot be downloaded.") from error


def _run(*arguments: str, cwd: str | None = None) -> None:
    subprocess.run(arguments, cwd=cwd, capture_output=True, check=True)
