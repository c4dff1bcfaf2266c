"""Whatever the auditor holds, one command verifies it: an export, tiles, a proof, a checkpoint, a report."""

from pathlib import Path

from audit.errors import NotAnExport, TrustInvalid, VerificationImpossible
from audit.log.note import MAX_NOTE_BYTES
from audit.verify.export import verify_export
from audit.verify.files import has_tiles
from audit.verify.pdf_report import is_pdf, verify_report
from audit.verify.proof import read_proof, verify_proof
from audit.verify.report import Progress, Report
from audit.verify.tiles import verify_tiles
from audit.verify.trust import Trust

_MAX_EPOCHS_BYTES = 1 << 28


def verify_any(
    path: Path,
    trust: Trust | None = None,
    *,
    noted: Path | bytes | None = None,
    epochs: Path | None = None,
    fields: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Recognise what lies at a path, and verify it.

    Args:
        path: an export or tiles, each a folder or a tar; a proof; a checkpoint; a report's PDF.
        trust: what must be present. A proof or a checkpoint cannot be verified without.
        noted: a checkpoint that the verifier kept from earlier, its file or its bytes: what lies here must extend it.
        epochs: the `epochs.jsonl` of an export, for a proof or a checkpoint where the trust file names an epoch's key.
        fields: also read each record's fields.
        progress: told how many records are verified so far, of how many.

    Raises:
        VerificationFailed: something does not hold; it carries the report.
        NotAnExport: there is nothing of all this at the path.
        TrustInvalid: what the verifier must bring for it was not given.
        VerificationImpossible: it could not be read to its end.
    """
    kept = _read(noted, MAX_NOTE_BYTES, "checkpoint that you kept") if isinstance(noted, Path) else noted
    changes = None if epochs is None else _read(epochs, _MAX_EPOCHS_BYTES, "file of key epochs")
    is_report = is_pdf(path)
    proof = read_proof(path) if path.is_file() and not is_report else None
    if proof is not None:
        return verify_proof(proof, trust, kept, changes)
    if changes is not None:
        raise TrustInvalid("Only a proof or a checkpoint needs key epochs beside it.", "Leave out --epochs.")
    if is_report:
        if kept is not None:
            raise TrustInvalid(
                "A report is not compared with a checkpoint that you kept.",
                "Verify an export of the log with --noted.",
            )
        return verify_report(path, trust)
    verify = verify_tiles if has_tiles(path) else verify_export
    return verify(path, trust, noted=kept, fields=fields, progress=progress)


def _read(path: Path, limit_bytes: int, what: str) -> bytes:
    if not path.is_file():
        raise NotAnExport(f"The {what} is not there.", "Give the file's name.")
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise VerificationImpossible(
            f"The {what} cannot be read: {error.strerror}.", "Look at its permissions."
        ) from error
    if len(data) > limit_bytes:
        raise NotAnExport(f"The {what} is longer than any should be.", "Give the right file.")
    return data
