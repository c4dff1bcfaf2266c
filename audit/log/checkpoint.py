"""Checkpoints (C2SP tlog-checkpoint): the tree's size and root, signed, so that they can be held elsewhere.

A checkpoint is what a plain hash chain lacks: against it, a cut tail, a replaced log or a rollback shows.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from audit.errors import NoteInvalid
from audit.log.merkle import HASH_BYTES, TreeHead
from audit.log.note import Note, VerifierKey
from audit.ports import Signer

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says about itself: who it is, how many records it has, and their root.

    Attributes:
        origin: the log's identity, one line; also the name of its key.
        head: size and root of the tree.
    """

    origin: str
    head: TreeHead

    def text(self) -> bytes:
        """The checkpoint as a note's text: origin, size, root in base64, a line each."""
        return f"{self.origin}\n{self.head.size}\n{base64.b64encode(self.head.root).decode()}\n".encode()

    @classmethod
    def parse(cls, text: bytes) -> "Checkpoint":
        """Read a note's text as a checkpoint.

        Extension lines are refused: ours have none, and nobody could audit them.

        Raises:
            NoteInvalid: it is not one.
        """
        lines = text.decode(errors="replace").split("\n")
        if len(lines) != 4 or lines[3] or not lines[0] or not _SIZE.fullmatch(lines[1]):
            raise NoteInvalid("The signed text is not a checkpoint: origin, size and root, a line each.")
        try:
            root = base64.b64decode(lines[2], validate=True)
        except (ValueError, binascii.Error) as error:
            raise NoteInvalid("The root in the checkpoint is not in base64.") from error
        checkpoint = cls(lines[0], TreeHead(int(lines[1]), root))
        if len(root) != HASH_BYTES or checkpoint.text() != text:
            raise NoteInvalid("The root in the checkpoint is not a SHA-256 hash in base64.")
        return checkpoint

    def sign(self, signers: Iterable[Signer]) -> bytes:
        """The checkpoint as a signed note.

        Raises:
            NoteInvalid: no signer was given.
        """
        return bytes(Note.sign(self.text(), signers))

    @classmethod
    def verify(cls, untrusted_note: bytes, keys: Iterable[VerifierKey]) -> "Checkpoint":
        """Read a signed checkpoint and check that every one of `keys` signed it.

        Raises:
            NoteInvalid: it is malformed, or a signature is missing or does not fit.
        """
        return cls.parse(Note.parse(untrusted_note).verify(keys))
