"""Tells systemd how the daemon stands, by the datagrams of sd_notify(3): ready, still alive, what it does, stopping.

Without systemd (no `NOTIFY_SOCKET`) nothing is told. The address is taken out of the environment, so that no program
which the daemon starts can speak in its name.
"""

import logging
import socket
import threading
from collections.abc import Callable, MutableMapping
from typing import Final, Self

_log = logging.getLogger("web.readiness")
_MICROSECONDS: Final = 1_000_000


class Readiness:
    """The way to systemd."""

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        """Take where datagrams go (None: nowhere) and how long systemd waits for a sign of life."""
        # A leading @ stands for the zero byte of an abstract address (sd_notify(3)).
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self.watchdog_s = watchdog_s
        self._failed = False

    @classmethod
    def take_from(cls, environment: MutableMapping[str, str]) -> Self:
        """Read and remove what systemd set for this process."""
        address = environment.pop("NOTIFY_SOCKET", None)
        every = environment.pop("WATCHDOG_USEC", "")
        environment.pop("WATCHDOG_PID", None)
        return cls(address, int(every) / _MICROSECONDS if every.isdecimal() and int(every) else None)

    def ready(self, sentence: str) -> None:
        """The site is open."""
        self._tell(f"READY=1\nSTATUS={sentence}")

    def stopping(self) -> None:
        """The daemon ends in order."""
        self._tell("STOPPING=1\nSTATUS=Ending what runs.")

    def keep_alive(self, look: Callable[[], str], stop: threading.Event) -> threading.Thread | None:
        """Give a sign of life, with a sentence, until `stop`; in a thread, twice in the time systemd waits.

        Args:
            look: looks at the site and says how it stands; while it hangs there is no sign, and systemd starts anew.
        """
        if self._address is None or self.watchdog_s is None:
            return None
        every_s = self.watchdog_s / 2

        def run() -> None:
            while not stop.wait(every_s):
                self._tell(f"WATCHDOG=1\nSTATUS={look()}")

        thread = threading.Thread(target=run, name="watchdog", daemon=True)
        thread.start()
        return thread

    def _tell(self, text: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
                way.sendto(text.encode(), self._address)
        except OSError as error:
            if not self._failed:
                _log.warning("systemd cannot be told how the daemon stands.", exc_info=error)
            self._failed = True
