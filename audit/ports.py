"""What the audit layer needs from above and cannot reach itself: time and signatures.

Imports point down, so audit declares these protocols and vault implements them; `vault/wiring.py` joins them.
"""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. The wall clock can be set back, so records also keep the monotonic one."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""

    def mono_ns(self) -> int:
        """Nanoseconds of the monotonic clock, 0 or more; comparable within one `boot_id`."""

    def boot_id(self) -> str:
        """The running kernel's boot id."""


class Signer(Protocol):
    """A key that signs checkpoints; the private half may live anywhere."""

    @property
    def vkey(self) -> str:
        """The public half as a C2SP verifier key, `name+hash+base64`."""

    def sign(self, text: bytes) -> bytes:
        """Sign a note's text with Ed25519 (RFC 8032); return the 64 bytes of the signature."""
