"""Proofs as files: C2SP tlog-proof for a record, and the body of C2SP tlog-witness's add-checkpoint for growth.

Both end with the checkpoint, verbatim, so that signatures added to it travel along. A record's own bytes stand in
the `extra` line: the format does not authenticate that line, the leaf hash over it does.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from audit.errors import ProofInvalid
from audit.log.merkle import HASH_BYTES
from audit.log.note import MAX_NOTE_BYTES
from audit.log.proofs import MAX_PROOF_HASHES
from audit.log.shape import MAX_RECORD_BYTES

#: First line of a record's proof, and what the first line of a proof of growth begins with.
INCLUSION_HEADER = b"c2sp.org/tlog-proof@v1"
CONSISTENCY_HEADER = b"old "

#: Largest file that is read: the longest record in base64, a proof, a checkpoint.
MAX_FILE_BYTES = MAX_RECORD_BYTES * 4 // 3 + MAX_NOTE_BYTES + 16384

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class InclusionFile:
    """A proof that a record is in the log: the file `RECORD.tlog-proof`.

    Attributes:
        index: the record's number.
        path: hashes from the leaf's sibling up.
        note: the signed checkpoint, not believed yet.
        record: the record's bytes; None in a file of another maker, without them.
    """

    index: int
    path: tuple[bytes, ...]
    note: bytes
    record: bytes | None

    def __bytes__(self) -> bytes:
        lines = [INCLUSION_HEADER.decode()]
        if self.record is not None:
            lines.append(f"extra {base64.b64encode(self.record).decode()}")
        return _join([*lines, f"index {self.index}"], self.path, self.note)

    @classmethod
    def parse(cls, untrusted: bytes) -> "InclusionFile":
        """Read a proof without believing it.

        Raises:
            ProofInvalid: it does not have the form of a tlog-proof.
        """
        lines, note = _split(untrusted)
        if lines.pop(0) != INCLUSION_HEADER.decode():
            raise ProofInvalid("The file does not begin as a tlog-proof does.")
        record = (
            _base64(lines.pop(0).removeprefix("extra ")) if lines and lines[0].startswith("extra ") else None
        )
        index = _number(lines.pop(0) if lines else "", "index ")
        return cls(index, _path(lines), note, record)


@dataclass(frozen=True, slots=True)
class ConsistencyFile:
    """A proof that the log extends what it was: the body of an add-checkpoint request to a witness.

    Attributes:
        old_size: number of records of the older tree.
        path: the consistency proof.
        note: the newer signed checkpoint, not believed yet.
    """

    old_size: int
    path: tuple[bytes, ...]
    note: bytes

    def __bytes__(self) -> bytes:
        return _join([f"old {self.old_size}"], self.path, self.note)

    @classmethod
    def parse(cls, untrusted: bytes) -> "ConsistencyFile":
        """Read a proof without believing it.

        Raises:
            ProofInvalid: it does not have its form.
        """
        lines, note = _split(untrusted)
        return cls(_number(lines.pop(0), "old "), _path(lines), note)


def _join(lines: Sequence[str], path: Sequence[bytes], note: bytes) -> bytes:
    hashes = [base64.b64encode(each).decode() for each in path]
    return "".join(f"{line}\n" for line in (*lines, *hashes, "")).encode() + note


def _split(untrusted: bytes) -> tuple[list[str], bytes]:
    """The lines before the first empty one, at least one; and the note after it."""
    if len(untrusted) > MAX_FILE_BYTES:
        raise ProofInvalid("The proof is longer than any should be.")
    head, separator, note = untrusted.partition(b"\n\n")
    if not separator:
        raise ProofInvalid("The proof ends before its checkpoint.")
    try:
        return head.decode("ascii").split("\n"), note
    except UnicodeDecodeError as error:
        raise ProofInvalid("The proof holds something that is not plain text.") from error


def _number(line: str, name: str) -> int:
    digits = line.removeprefix(name)
    if not line.startswith(name) or not _NUMBER.fullmatch(digits):
        raise ProofInvalid(f"The proof has no line `{name}` with a number.")
    return int(digits)


def _path(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > MAX_PROOF_HASHES:
        raise ProofInvalid("The proof has more hashes than any needs.")
    hashes = tuple(_base64(line) for line in lines)
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ProofInvalid("A line of the proof is not a SHA-256 hash.")
    return hashes


def _base64(text: str) -> bytes:
    try:
        decoded = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise ProofInvalid("A line of the proof is not in base64.") from error
    # Two texts with one meaning would let a file be changed unseen.
    if base64.b64encode(decoded).decode() != text:
        raise ProofInvalid("A line of the proof is base64, but not in its one proper form.")
    return decoded
