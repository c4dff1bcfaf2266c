"""Verifying a proof or a bare checkpoint with nothing but a trust file: neither log nor server is asked.

What is signed is believed only from the key that the trust file names; the proof is then checked against it.
"""

from pathlib import Path

from audit.errors import (
    ProofInvalid,
    RecordInvalid,
    TrustInvalid,
    VerificationImpossible,
)
from audit.log.epochs import EpochChain
from audit.log.merkle import TreeHead, leaf_hash
from audit.log.note import VerifierKey
from audit.log.proof_files import (
    CONSISTENCY_HEADER,
    INCLUSION_HEADER,
    MAX_FILE_BYTES,
    ConsistencyFile,
    InclusionFile,
)
from audit.log.proofs import verify_consistency, verify_inclusion
from audit.log.record import Record
from audit.verify.authenticity import check_checkpoint, check_demands
from audit.verify.epochs import EpochCheck
from audit.verify.noted import check_noted
from audit.verify.report import Findings, FirstBad, Report
from audit.verify.trust import Trust

#: Kinds of the reports.
PROOF = "proof"
CONSISTENCY = "consistency-proof"
CHECKPOINT = "checkpoint"

_NO_KEY = "A proof or checkpoint carries no key, so a trust file must say whose signature is believed."


def read_proof(path: Path) -> bytes | None:
    """The bytes of a file that is a proof or a checkpoint; None when it is neither, such as a tar.

    Raises:
        VerificationImpossible: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            untrusted = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise VerificationImpossible(
            f"The file cannot be read: {error.strerror}.", "Look at its permissions and its disk."
        ) from error
    is_text = b"\0" not in untrusted[:512]  # a tar's first block has zeros
    return untrusted if is_text and untrusted else None


def verify_proof(
    untrusted: bytes, trust: Trust | None, noted: bytes | None = None, epochs: bytes | None = None
) -> Report:
    """Verify a record's proof, a proof of growth, or a checkpoint, whichever the bytes are.

    Args:
        untrusted: the file's bytes.
        trust: states at least `log_vkey`.
        noted: for a proof of growth, the older checkpoint that the verifier has kept.
        epochs: the records that begin the log's key epochs (`epochs.jsonl` of an export), where the trust file names
            an epoch's key: a proof does not carry the changes of keys.

    Raises:
        VerificationFailed: something does not hold; it carries the report.
        TrustInvalid: it states no key; or a proof of growth came without the checkpoint that it starts from.
    """
    trust = trust or Trust()
    if trust.log_vkey is None:
        raise TrustInvalid(_NO_KEY, "Give --trust with a file that states log_vkey.")
    if untrusted.startswith(CONSISTENCY_HEADER):
        if noted is None:
            raise TrustInvalid(
                "A proof that the log has only grown needs the older checkpoint that you kept.",
                "Give it with --noted.",
            )
        return _Verification(CONSISTENCY, trust, trust.log_vkey, epochs).growth(untrusted, noted)
    if untrusted.startswith(INCLUSION_HEADER):
        report = _Verification(PROOF, trust, trust.log_vkey, epochs).inclusion(untrusted)
    else:
        report = _Verification(CHECKPOINT, trust, trust.log_vkey, epochs).checkpoint(untrusted)
    if noted is not None:
        # Said only of what holds by itself: a damaged file is a failure, and no misunderstanding.
        raise TrustInvalid(
            "This file does not tell how the log grew, so it cannot be compared with a checkpoint that you kept.",
            "Have a proof made with `strongroom audit prove --consistent-with CHECKPOINT`.",
        )
    return report


class _Verification:
    """One file under verification; the methods are its kinds."""

    def __init__(self, kind: str, trust: Trust, key: VerifierKey, untrusted_epochs: bytes | None) -> None:
        self._findings = Findings(kind)
        self._trust = trust
        self._key = key
        self._epochs = self._follow(untrusted_epochs)

    def checkpoint(self, untrusted: bytes) -> Report:
        """Verify a bare checkpoint."""
        self._signed(untrusted)
        return self._findings.conclude()

    def inclusion(self, untrusted: bytes) -> Report:
        """Verify a record's proof."""
        findings = self._findings
        # 1. The file is a proof.
        try:
            proof = InclusionFile.parse(untrusted)
        except ProofInvalid as error:
            findings.fail("proof", "proof.malformed", error.message)
            return findings.conclude()
        # 2. A trusted key signed the tree.
        signed = self._signed(proof.note)
        # 3. The record is one, and has the number that the proof is about.
        record = self._record(proof)
        # 4. Its hash leads to the signed root.
        if record is not None and signed is not None:
            try:
                verify_inclusion(leaf_hash(record.bytes), proof.index, signed, proof.path)
            except ProofInvalid as error:
                findings.first_bad = FirstBad(proof.index, record.id, "proof.invalid")
                findings.fail(
                    "proof", "proof.invalid", f"Record {proof.index} is not proved. {error.message}"
                )
            else:
                findings.records = 1
                findings.details["record"] = record.document()
                findings.hold(
                    "proof",
                    f"Record {record.seq} ({record.id}) is in the signed log as it is here: {record.kind} of "
                    f"{record.action} on {record.resource} by {record.principal} at {record.at}.",
                )
        return findings.conclude()

    def growth(self, untrusted: bytes, untrusted_noted: bytes) -> Report:
        """Verify a proof that the log extends a checkpoint that was kept."""
        findings = self._findings
        # 1. The file is a proof.
        try:
            proof = ConsistencyFile.parse(untrusted)
        except ProofInvalid as error:
            findings.fail("proof", "proof.malformed", error.message)
            return findings.conclude()
        # 2. A trusted key signed both trees.
        signed = self._signed(proof.note)
        noted = check_noted(findings, self._trust, self._key, untrusted_noted, self._epochs)
        # 3. The proof begins at the tree that was kept, and leads to the new one.
        if signed is not None and noted is not None:
            try:
                if proof.old_size != noted.size:
                    raise ProofInvalid(
                        f"It begins at {proof.old_size} records, the checkpoint that was kept at {noted.size}."
                    )
                verify_consistency(noted, signed, proof.path)
            except ProofInvalid as error:
                sentence = f"It is not proved that the log only grew. {error.message}"
                findings.fail("proof", "proof.invalid", sentence)
            else:
                findings.hold(
                    "proof",
                    f"The log of {signed.size} records holds the {noted.size} that were signed before, unchanged and "
                    "in their places.",
                )
        return findings.conclude()

    def _signed(self, untrusted_note: bytes) -> TreeHead | None:
        self._findings.hold("key", f"The key is the trusted one: {self._key}.")
        signed = check_checkpoint(self._findings, self._trust, self._key, untrusted_note, self._epochs)
        check_demands(self._findings, self._trust, untrusted_note)
        return signed

    def _follow(self, untrusted_epochs: bytes | None) -> EpochChain | None:
        """Follow the changes of keys, where somebody gave them; they are demanded where an epoch's key is trusted."""
        findings, trusted = self._findings, self._trust.epoch_vkey
        if untrusted_epochs is None:
            if trusted is not None:
                findings.fail(
                    "epochs",
                    "epoch.missing",
                    f"The trust file asks for key epochs from {trusted.name} on, and a proof does not carry the "
                    "changes of keys: give the epochs.jsonl of an export with --epochs.",
                )
            return None
        check = EpochCheck(findings, self._trust, self._key)
        check.follow(untrusted_epochs.splitlines())
        if check.chain is not None:
            whose = "SELF-ASSERTED, from the log's key on" if trusted is None else f"from {trusted.name} on"
            findings.hold("epochs", f"{len(check.chain)} key epochs follow from each other, {whose}.")
        elif not any(each.name == "epochs" for each in findings.checks):
            findings.fail("epochs", "epoch.missing", "There is no change of keys in the file that was given.")
        return check.chain

    def _record(self, proof: InclusionFile) -> Record | None:
        findings = self._findings
        if proof.record is None:
            findings.fail("record", "proof.no_record", "The proof does not carry its record.")
            return None
        try:
            record = Record.parse(proof.record)
        except RecordInvalid as error:
            findings.fail("record", "record.malformed", f"The proof's record is malformed. {error.message}")
            return None
        if record.seq != proof.index:
            findings.first_bad = FirstBad(proof.index, record.id, "record.sequence")
            findings.fail(
                "record", "record.sequence", f"Record {proof.index} has another number in it: {record.seq}."
            )
            return None
        findings.hold("record", "The record has the form of one, and the number that the proof is about.")
        return record
