"""Makes guessing at the seal slow without ever locking anybody out.

Argon2id makes a guess dear for who holds the file; this makes it slow for who holds only the daemon's door.
The wait grows and then stays, because a lock would let a stranger keep the custodian from the site's own
keys.
"""

import time
from collections.abc import Callable

#: Wait after the first failure; it doubles with each further one.
FIRST_WAIT_S = 0.25
#: The longest wait.
LONGEST_WAIT_S = 5.0


class UnsealThrottle:
    """Counts failures and makes the next try wait."""

    def __init__(
        self, sleep: Callable[[float], None] = time.sleep, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._sleep = sleep
        self._monotonic = monotonic
        self._not_before = 0.0
        #: Failures since the last success.
        self.failures = 0

    def wait(self) -> None:
        """Wait until the next try may be made; returns at once after a success."""
        remaining_s = self._not_before - self._monotonic()
        if remaining_s > 0:
            self._sleep(remaining_s)

    def failed(self) -> None:
        """Note a failed try."""
        wait_s = min(FIRST_WAIT_S * 2.0 ** min(self.failures, 16), LONGEST_WAIT_S)
        self.failures += 1
        self._not_before = self._monotonic() + wait_s

    def succeeded(self) -> None:
        """Note a success: the next try waits for nothing."""
        self.failures = 0
        self._not_before = 0.0
