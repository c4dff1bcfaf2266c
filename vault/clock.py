"""The host's clocks, as the log's records carry them."""

import time
from datetime import UTC, datetime
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class HostClock:
    """Wall clock, monotonic clock and boot id of this host; an `audit.ports.Clock`."""

    def __init__(self) -> None:
        # The boot id does not change while a process lives.
        self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)

    def mono_ns(self) -> int:
        """CLOCK_MONOTONIC, nanoseconds."""
        return time.monotonic_ns()

    def boot_id(self) -> str:
        """The kernel's random id of this boot."""
        return self._boot_id
