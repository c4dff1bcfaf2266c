"""How long a thread waited for others: a program copying an image, the hypervisor making a guest.

What is left of an operation's time is our own. The places that wait for long say so here; the gate tells the
daemon's log of both, so that somebody who finds Strongroom slow sees whom to ask.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Waits(threading.local):
    total_s = 0.0


_waits = _Waits()


@contextmanager
def waiting_for_others() -> Iterator[None]:
    """Count the block's time as waited. Blocks do not nest."""
    began_at = time.perf_counter()
    try:
        yield
    finally:
        _waits.total_s += time.perf_counter() - began_at


def waited_s() -> float:
    """Seconds that this thread has waited so far; take the difference of two."""
    return _waits.total_s
