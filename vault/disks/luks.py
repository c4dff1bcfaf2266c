"""LUKS1 headers as bytes: what a header says about cipher and keyslots, read without any key.

After the LUKS1 On-Disk Format Specification, version 1.2.3, section 2 (figures 1 to 4). QEMU implements LUKS1
only.
"""

import struct
from dataclasses import dataclass

from vault.errors import IntegrityFailure

SECTOR_BYTES = 512
#: The header proper; the keyslots' key material follows.
HEADER_BYTES = 592
KEYSLOTS = 8
_MAGIC = b"LUKS\xba\xbe"
_VERSION = 1
_ENABLED = 0x00AC71F3
_DISABLED = 0x0000DEAD
_FIELDS = struct.Struct(">6sH32s32s32sII20s32sI40s")
_KEYSLOT = struct.Struct(">II32sII")


@dataclass(frozen=True, slots=True)
class Keyslot:
    """One of the eight keyslots.

    Attributes:
        index: 0 to 7.
        active: whether a passphrase in it opens the disk.
        iterations: PBKDF2 iterations, 0 where it is not active.
    """

    index: int
    active: bool
    iterations: int


@dataclass(frozen=True, slots=True)
class LuksHeader:
    """What a LUKS1 header says.

    Attributes:
        cipher: such as `aes`.
        mode: such as `xts-plain64`.
        hash: such as `sha256`.
        key_bits: length of the master key; 512 for AES-256 in XTS, which takes two keys.
        payload_offset_bytes: where the encrypted data begins, counted from the header.
        uuid: the header's own id.
        keyslots: all eight.
    """

    cipher: str
    mode: str
    hash: str
    key_bits: int
    payload_offset_bytes: int
    uuid: str
    keyslots: tuple[Keyslot, ...]

    @property
    def active_slots(self) -> tuple[int, ...]:
        """Indices of the active keyslots."""
        return tuple(slot.index for slot in self.keyslots if slot.active)


def parse_luks_header(untrusted: bytes) -> LuksHeader:
    """Read a LUKS1 header.

    Args:
        untrusted: at least 592 bytes from its beginning.

    Raises:
        IntegrityFailure: it is none.
    """
    if len(untrusted) < HEADER_BYTES:
        raise _no_header("it is cut short")
    magic, version, cipher, mode, digest, payload, key_bytes, _, _, _, uuid = _FIELDS.unpack_from(untrusted)
    if magic != _MAGIC or version != _VERSION:
        raise _no_header("it does not begin as one")
    keyslots = []
    for index in range(KEYSLOTS):
        state, iterations, _salt, _offset, _stripes = _KEYSLOT.unpack_from(
            untrusted, _FIELDS.size + index * _KEYSLOT.size
        )
        if state not in {_ENABLED, _DISABLED}:
            raise _no_header(f"keyslot {index} is neither on nor off")
        active = state == _ENABLED
        keyslots.append(Keyslot(index, active, iterations if active else 0))
    return LuksHeader(
        cipher=_text(cipher),
        mode=_text(mode),
        hash=_text(digest),
        key_bits=key_bytes * 8,
        payload_offset_bytes=payload * SECTOR_BYTES,
        uuid=_text(uuid),
        keyslots=tuple(keyslots),
    )


def _text(field: bytes) -> str:
    try:
        return field.split(b"\0", 1)[0].decode("ascii")
    except UnicodeDecodeError:
        raise _no_header("a name in it is no text") from None


def _no_header(why: str) -> IntegrityFailure:
    return IntegrityFailure(
        f"The disk holds no sound LUKS header: {why}.", "Restore its header or the disk from a backup."
    )
