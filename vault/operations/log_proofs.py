"""Prove to somebody outside what the log holds: one record, or that it has only grown since a checkpoint."""

from typing import Any

from audit.errors import NoteInvalid, ProofInvalid
from audit.log.checkpoint import Checkpoint
from audit.log.merkle import TreeHead
from audit.log.note import Note, VerifierKey
from audit.log.proof_files import ConsistencyFile, InclusionFile
from audit.log.proofs import StoredTree, verify_consistency, verify_inclusion
from policies.vocabulary import Action
from vault.entities import LOG
from vault.errors import BadInput, IntegrityFailure
from vault.gate import Access, Caller
from vault.operations.log import find_record
from vault.permit import Permit
from vault.site import Site

#: A person waits for the proof, and it waits this long for the quorum of witnesses.
_WITNESSES_S = 5.0


def prove_record(site: Site, caller: Caller, seq_or_id: str) -> dict[str, Any]:
    """A file that proves to whoever knows the log's key that a record is in the log, as it is in the file.

    Raises:
        RecordNotFound: there is none.
        ProofInvalid: the stored tree does not hold the record.
    """

    def produce() -> dict[str, Any]:
        record = find_record(site, seq_or_id)
        note, head = _covering(site, record.seq + 1)
        path = StoredTree(head.size, site.reader.hashes).inclusion(record.seq)
        # What is handed out holds: a damaged tree is found here, not by the auditor.
        verify_inclusion(record.leaf_hash, record.seq, head, path)
        proof = InclusionFile(record.seq, tuple(path), note, record.bytes)
        return {
            "seq": record.seq,
            "id": record.id,
            "size": head.size,
            "root": head.root.hex(),
            "proof": bytes(proof).decode(),
        }

    return site.gate.read(Access(caller, Action.LOG_PROVE, LOG), produce)


def prove_growth(site: Site, caller: Caller, untrusted_note: str) -> dict[str, Any]:
    """A file that proves that the log still holds, unchanged, what a checkpoint was signed over.

    Args:
        untrusted_note: the checkpoint that somebody kept.

    Raises:
        BadInput: it is not a checkpoint.
        NoteInvalid: this log's key did not sign it.
        IntegrityFailure: the log does not hold what was signed; a finding is opened.
    """
    noted = _noted(site, untrusted_note)

    def act(permit: Permit) -> dict[str, Any]:
        note, head = _covering(site, noted.size)
        try:
            tree = StoredTree(head.size, site.reader.hashes)
            path = tree.consistency(noted.size)
            verify_consistency(noted, head, path)
        except ProofInvalid as error:
            permit.note(holds=False, old_size=noted.size, size=head.size)
            site.findings.open(
                "log.checkpoint_contradicted",
                resource=str(LOG),
                sentence=f"The log does not hold what was signed at {noted.size} records: it was cut or rewritten.",
                record=permit.intent,
            )
            raise IntegrityFailure(
                f"The log does not extend this checkpoint: {error.message}", "See the findings."
            ) from error
        permit.note(holds=True, old_size=noted.size, size=head.size)
        return {
            "old_size": noted.size,
            "size": head.size,
            "root": head.root.hex(),
            "proof": bytes(ConsistencyFile(noted.size, tuple(path), note)).decode(),
        }

    return site.gate.run(Access(caller, Action.LOG_PROVE, LOG), act)


def _covering(site: Site, size: int) -> tuple[bytes, TreeHead]:
    """The newest witnessed checkpoint, else the newest; and what it was signed over: at least `size` records."""
    key = VerifierKey.parse(site.reader.vkey)
    witnessed = site.witnesses.wait(size, _WITNESSES_S)
    note = site.reader.latest_checkpoint() if witnessed is None else site.reader.checkpoint_of(witnessed)
    head = None if note is None else Checkpoint.verify(note, [key]).head
    if note is None or head is None or head.size < size:
        # Each record is signed within a second anyway; this only has it done now.
        note = site.log.checkpoint()
        head = Checkpoint.verify(note, [key]).head
    return note, head


def _noted(site: Site, untrusted_note: str) -> TreeHead:
    try:
        Checkpoint.parse(Note.parse(untrusted_note.encode()).untrusted_text)
    except NoteInvalid as error:
        raise BadInput(
            f"This is not a checkpoint: {error.message}",
            "Give the file that `strongroom audit checkpoint` printed, unchanged.",
        ) from error
    noted = Checkpoint.verify(untrusted_note.encode(), [VerifierKey.parse(site.reader.vkey)])
    if noted.origin != site.reader.origin:
        raise BadInput(f"This checkpoint is of another log, {noted.origin}.", "Give one of this log.")
    return noted.head
