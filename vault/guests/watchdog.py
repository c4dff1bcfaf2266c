"""Takes back what a dead daemon left in libvirt: secrets that were defined for a start, and half-starts.

A process of its own, because a daemon that is killed cannot tidy up. It waits for its standard input to
end, which happens when the daemon closes it or dies, also by SIGKILL. It touches only what bears the mark
of that run of the daemon, so that it cannot get in the way of the next one.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import libvirt

from vault.guests.daemon_run import this_run
from vault.guests.libvirt_secrets import destroy_half_starts_of, undefine_secrets_of

#: libvirt finishes a call whose caller died: look again until such a call is over.
_LOOK_FOR_S = 10.0
_PAUSE_S = 0.25
_END_TIMEOUT_S = 30


class Watchdog:
    """The daemon's handle on its watchdog."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        """Take the process, whose standard input is held open until `close`."""
        self._process = process

    @property
    def pid(self) -> int:
        """The watchdog's process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it still watches; a daemon without one starts no guest."""
        return self._process.poll() is None

    def close(self) -> None:
        """Let it clean up and end: a daemon that ends in order has no call under way."""
        if self._process.stdin is not None:
            try:
                self._process.stdin.write(b"\n")
                self._process.stdin.close()
            except BrokenPipeError:  # it has ended already
                self._process.wait(timeout=_END_TIMEOUT_S)
                return
        self._process.wait(timeout=_END_TIMEOUT_S)


def start_watchdog(instance: str, libvirt_uri: str) -> Watchdog:
    """Start the watchdog of this process; it lives a moment longer.

    Args:
        instance: whose secrets and guests.
        libvirt_uri: of the hypervisor.
    """
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "vault.guests.watchdog"),
            *("--instance", instance, "--run", this_run(), "--libvirt-uri", libvirt_uri),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # who reads the daemon's output must not wait for the watchdog's end
        cwd=Path(__file__).parents[2],
        start_new_session=True,  # a signal to the daemon's group must not end it too
    )
    return Watchdog(process)


def clean_up(libvirt_uri: str, instance: str, run: str) -> int:
    """Undefine the secrets of a run, and remove its half-started guests; returns how many things it removed.

    Raises:
        libvirt.libvirtError: libvirt does not answer.
    """
    connection = libvirt.open(libvirt_uri)
    try:
        return undefine_secrets_of(connection, instance, run) + destroy_half_starts_of(
            connection, instance, run
        )
    finally:
        connection.close()


def main(arguments: Sequence[str]) -> int:
    """Wait for the daemon's end, then clean up; returns 1 when libvirt did not answer in the end."""
    parser = argparse.ArgumentParser(prog="vault.guests.watchdog")
    for name in ("--instance", "--run", "--libvirt-uri"):
        parser.add_argument(name, required=True)
    wanted = parser.parse_args(arguments)
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    orderly = sys.stdin.buffer.read() == b"\n"
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    until = time.monotonic() + (0 if orderly else _LOOK_FOR_S)
    while True:
        try:
            clean_up(wanted.libvirt_uri, wanted.instance, wanted.run)
            answered = True
        except libvirt.libvirtError:
            answered = False  # secrets are ephemeral: a libvirt that is gone has forgotten them
        if time.monotonic() >= until:
            return 0 if answered else 1
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
