"""One lock for each resource, held by the gate from decision to outcome.

So a start cannot race a key's destruction, and a permit cannot outlive a role that was
revoked while it waited. Locks are re-entrant for no one: an act that asks the gate again for
the same resource is a defect, and waiting shows it as a conflict instead of a deadlock.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vault.errors import Conflict


@dataclass(slots=True)
class Held:
    """A lock while it is held. `acting` is set once the access was allowed: only then can it have effects."""

    acting: bool = False


class ResourceLocks:
    """Locks by resource, made when first asked for and dropped when nobody holds or waits."""

    def __init__(self, wait_s: float = 20.0) -> None:
        self._wait_s = wait_s
        self._guard = threading.Lock()
        self._held: dict[str, tuple[threading.Lock, int]] = {}
        self._now: dict[str, Held] = {}
        self._listeners: list[Callable[[str], None]] = []

    def on_release(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the key just before the lock of an access that acted is released."""
        self._listeners.append(listener)

    @contextmanager
    def hold(self, key: str) -> Iterator[Held]:
        """Hold the lock named `key` for the block.

        Raises:
            Conflict: another access held it for longer than the waiting time.
        """
        with self._guard:
            lock, users = self._held.get(key, (threading.Lock(), 0))
            self._held[key] = (lock, users + 1)
        try:
            if not lock.acquire(timeout=self._wait_s):
                raise Conflict(
                    "Another operation on this is still running.", "Wait until it has ended, then try again."
                )
            held = Held()
            self._now[key] = held
            try:
                yield held
            finally:
                try:
                    self._tell(key, held)
                finally:
                    del self._now[key]
                    lock.release()
        finally:
            with self._guard:
                lock, users = self._held[key]
                if users == 1:
                    del self._held[key]
                else:
                    self._held[key] = (lock, users - 1)

    def is_busy(self, key: str) -> bool:
        """Say whether somebody holds or waits for `key` now."""
        with self._guard:
            return key in self._held

    def is_acting(self, key: str) -> bool:
        """Say whether an access that was allowed holds `key` now; one that the policy refuses never does."""
        held = self._now.get(key)
        return held is not None and held.acting

    def _tell(self, key: str, held: Held) -> None:
        if held.acting:
            for listener in self._listeners:
                listener(key)
