"""When a witness cosigns: the trust rules of C2SP tlog-witness, with no I/O.

A request is judged against what the witness trusts and the one tree that it cosigned last, in the order that the
specification's text gives. Each refusal is an error with its HTTP status; whoever gets no error may store and cosign
what `judge` returns, in the same transaction that the last tree was read in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audit.errors import AuditError, NoteInvalid, ProofInvalid
from audit.log.checkpoint import Checkpoint
from audit.log.merkle import EMPTY_ROOT, TreeHead
from audit.log.note import Note, Signature, VerifierKey
from audit.log.proof_files import ConsistencyFile
from audit.log.proofs import verify_consistency
from policies.errors import ExitCode

#: "The client MUST NOT send more than 63 consistency proof lines."
MAX_PROOF_LINES = 63

#: No request is longer: 63 hashes and a note with the signatures that the specification asks witnesses to take.
MAX_REQUEST_BYTES = 1 << 16

#: Lines of a checkpoint that every log has; what follows are extensions, which a witness cosigns unread.
_CORE_LINES = 3


class Refused(AuditError):
    """A request that the witness does not cosign.

    Attributes:
        status: HTTP status of the answer.
    """

    exit_code = ExitCode.CONFLICT
    status = 400


class RequestMalformed(Refused):
    """It is not a request at all, or says that the log shrank."""

    code = "witness.malformed"


class RequestTooLarge(Refused):
    """It is longer than any request needs to be."""

    code = "witness.too_large"
    status = 413


class LogUnknown(Refused):
    """Nobody told this witness to watch that log."""

    code = "witness.log_unknown"
    status = 404


class SignatureRefused(Refused):
    """No key that the witness trusts for the log signed the checkpoint."""

    code = "witness.signature_refused"
    status = 403


class SizeConflict(Refused):
    """The proof does not begin at the tree that the witness cosigned last.

    Args:
        size: records of that tree; the answer's body.
    """

    code = "witness.size_conflict"
    status = 409

    def __init__(self, size: int) -> None:
        super().__init__(
            f"This witness cosigned a tree of {size} records last.", "Prove growth from that one."
        )
        self.size = size


class Inconsistent(Refused):
    """The log's own key signed a tree that does not extend the one cosigned last: a fork, or a changed record."""

    code = "witness.inconsistent"
    status = 422


@dataclass(frozen=True, slots=True)
class Request:
    """An add-checkpoint request, taken apart and not believed.

    Attributes:
        old_size: records of the tree that the proof begins at.
        path: the consistency proof.
        note: the signed checkpoint.
        origin, head: what the checkpoint says; nobody has checked its signature yet.
    """

    old_size: int
    path: tuple[bytes, ...]
    note: Note
    origin: str
    head: TreeHead

    @classmethod
    def parse(cls, untrusted: bytes) -> "Request":
        """Read a request's body.

        Raises:
            RequestMalformed: it does not have its form.
            RequestTooLarge: it is longer than any needs to be.
        """
        if len(untrusted) > MAX_REQUEST_BYTES:
            raise RequestTooLarge(f"A request has at most {MAX_REQUEST_BYTES} bytes.")
        try:
            body = ConsistencyFile.parse(untrusted)
            note = Note.parse(body.note)
            checkpoint = _core(note.untrusted_text)
        except (ProofInvalid, NoteInvalid) as error:
            raise RequestMalformed(f"The request cannot be read. {error.message}") from error
        if len(body.path) > MAX_PROOF_LINES:
            raise RequestMalformed(f"A consistency proof has at most {MAX_PROOF_LINES} lines.")
        return cls(body.old_size, body.path, note, checkpoint.origin, checkpoint.head)


@dataclass(frozen=True, slots=True)
class Consistent:
    """A tree that may be stored and cosigned.

    Attributes:
        origin, head: which log, and the tree.
        text: the checkpoint's whole text, which is cosigned.
        log_signatures: the signatures of trusted keys that were verified.
    """

    origin: str
    head: TreeHead
    text: bytes
    log_signatures: tuple[Signature, ...]


def judge(
    request: Request, trusted: Mapping[str, Sequence[VerifierKey]], latest: TreeHead | None
) -> Consistent:
    """Decide about a request.

    Args:
        request: what was asked.
        trusted: the keys that each log signs with, by origin.
        latest: the tree of this log that was cosigned last; None before the first.

    Raises:
        Refused: it is not to be cosigned; the class says why.
    """
    # 1. The log is one that this witness watches.
    keys = trusted.get(request.origin)
    if not keys:
        raise LogUnknown("This witness does not watch that log.", "Ask its administrator to trust its key.")
    # 2. A trusted key signed; signatures of unknown keys are ignored, wrong ones of known keys are not.
    signatures = _signatures(request.note, keys)
    # 3. The log does not say itself that it shrank.
    if request.old_size > request.head.size:
        raise RequestMalformed(
            f"A log of {request.head.size} records cannot extend one of {request.old_size}."
        )
    # 4. The proof begins where this witness is: what it cosigned last can never be left out.
    known = latest or TreeHead(0, EMPTY_ROOT)
    if request.old_size != known.size:
        raise SizeConflict(known.size)
    # 5. An empty tree has the one root of nothing. 6. From nothing, no proof is needed, and none is taken.
    # 7. The proof holds; at the same size the roots are the same.
    if request.head.size == 0 and request.head.root != EMPTY_ROOT:
        raise Inconsistent("The log's key signed an empty tree with the root of another.")
    try:
        verify_consistency(known, request.head, request.path)
    except ProofInvalid as error:
        raise Inconsistent(
            f"It is not proved that the log of {request.head.size} records extends the {known.size} cosigned "
            f"last. {error.message}"
        ) from error
    return Consistent(request.origin, request.head, request.note.untrusted_text, signatures)


def _signatures(note: Note, keys: Sequence[VerifierKey]) -> tuple[Signature, ...]:
    found: list[Signature] = []
    for key in keys:
        own = [each for each in note.signatures if (each.name, each.key_id) == (key.name, key.id)]
        try:
            for each in own:
                key.verify(note.untrusted_text, each.signature)
        except NoteInvalid as error:
            raise SignatureRefused(error.message) from error
        found += own
    if not found:
        raise SignatureRefused("No key that this witness trusts for the log signed the checkpoint.")
    return tuple(found)


def _core(text: bytes) -> Checkpoint:
    """Origin, size and root of a checkpoint that may go on with extension lines."""
    lines = text.split(b"\n")[:-1]
    if any(not line for line in lines):
        raise NoteInvalid("A line of the checkpoint is empty.")
    return Checkpoint.parse(b"".join(line + b"\n" for line in lines[:_CORE_LINES]))
