"""Verifying a signed evidence report, with nothing but its file and, better, a fingerprint got by another way."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from audit.errors import NotAnExport, VerificationImpossible
from audit.verify.authenticity import check_checkpoint, check_key
from audit.verify.cosigned import check_witnesses
from audit.verify.pdf_envelope import Envelope, EnvelopeBroken, open_envelope
from audit.verify.report import Findings, Report
from audit.verify.trust import Trust

KIND = "report"
MAGIC = b"%PDF-"
#: The attached list of every other attached file.
MANIFEST = "manifest.json"
EVALUATION, SNAPSHOT = "evaluation.json", "snapshot.json"

_MAX_BYTES = 2 << 30


def is_pdf(path: Path) -> bool:
    """Whether this path is a PDF file, and so for `verify_report`."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def verify_report(path: Path, trust: Trust | None = None) -> Report:
    """Verify a report.

    Args:
        path: the PDF.
        trust: whose certificate, and which log. Without it the file vouches for itself, and the answer says so.

    Raises:
        VerificationFailed: something does not hold; it carries what was found.
        NotAnExport: it is no PDF.
        VerificationImpossible: it could not be read to its end.
    """
    believed = trust or Trust()
    try:
        with path.open("rb") as file:
            untrusted = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise VerificationImpossible(f"{path} cannot be read: {error.strerror}.") from error
    if not untrusted.startswith(MAGIC) or len(untrusted) > _MAX_BYTES:
        raise NotAnExport(f"{path} is no PDF of a report.", "Name the signed PDF that was given to you.")
    findings = Findings(KIND)
    # 1. The signature covers every byte, and nothing is beside it.
    envelope = _open(findings, untrusted)
    if envelope is not None:
        # 2. The signer is the one that was expected.
        _check_signer(findings, believed, envelope)
        # 3. A PDF library finds the same, and 4. every attached file is the one the manifest lists.
        attached = _check_content(findings, untrusted, envelope)
        # 5. What is attached belongs together, and to the log it names.
        if attached is not None:
            _check_evidence(findings, believed, attached)
    for demand in believed.demands:
        findings.fail("trust", "trust.unmet", f"The trust file asks for {demand}; a report carries none.")
    return findings.conclude()


def _open(findings: Findings, untrusted: bytes) -> Envelope | None:
    try:
        envelope = open_envelope(untrusted)
    except EnvelopeBroken as error:
        findings.fail("signature", error.finding, error.sentence)
        return None
    findings.hold("signature", "The signature covers every byte of the file, and nothing stands after it.")
    findings.hold(
        "unsigned",
        f"The report before it was signed: the first {envelope.unsigned_bytes} bytes, SHA-256 "
        f"{envelope.unsigned_sha256}. Made again from its snapshot and log it must have these.",
    )
    return envelope


def _check_signer(findings: Findings, trust: Trust, envelope: Envelope) -> None:
    signer, fingerprints = envelope.certificates[0], envelope.fingerprints
    named = f"{signer.subject.rfc4514_string()}, certificate {fingerprints[0]}"
    if trust.report_certificates:
        if trust.report_certificates & set(fingerprints):
            findings.hold("signer", f"The signer is the trusted one: {named}. The time is the signer's own.")
        else:
            findings.fail("signer", "report.not_trusted", f"The signer is not the trusted one, but {named}.")
        return
    findings.hold(
        "signer",
        f"SELF-ASSERTED: {named}, issued by {fingerprints[-1]}. Nobody but the file vouches for it, nor for the "
        "time in it. Compare the fingerprint with one you were given by another way, or name that with "
        "--fingerprint or in a trust file.",
    )


def _check_content(findings: Findings, pdf: bytes, envelope: Envelope) -> Mapping[str, bytes] | None:
    # Imported here: it brings a PDF library, which no other verification needs.
    from audit.verify.pdf_attachments import Attachments  # noqa: PLC0415

    try:
        attachments = Attachments(pdf)
        doubts = attachments.signature_doubts(envelope.certificates)
        manifest = json.loads(attachments.read(MANIFEST))
        listed = {
            str(each["name"]): (str(each["sha256"]), int(each["size_bytes"])) for each in manifest["files"]
        }
        wrong = sorted(attachments.names ^ (set(listed) | {MANIFEST})) or sorted(
            name for name, stated in listed.items() if attachments.digest(name) != stated
        )
        read = {} if wrong else {name: attachments.read(name) for name in (EVALUATION, SNAPSHOT)}
    except Exception as error:  # noqa: BLE001 - a hostile file: whatever the library stumbles over does not hold
        findings.fail(
            "attachments",
            "report.malformed",
            f"The PDF is not shaped as a report is ({type(error).__name__}).",
        )
        return None
    if doubts:
        findings.fail("standard", "report.signature_invalid", f"As PAdES it does not hold: {doubts[0]}.")
    else:
        findings.hold("standard", "As PAdES baseline B-B it holds too: intact, whole, chain in order.")
    if wrong:
        findings.fail(
            "attachments", "report.attachment_changed", f"{wrong[0]} is not what the manifest lists."
        )
        return None
    findings.hold(
        "attachments", f"Each of the {len(listed)} attached files is the one that the manifest lists."
    )
    return read


def _check_evidence(findings: Findings, trust: Trust, attached: Mapping[str, bytes]) -> None:
    try:
        evaluation, log = json.loads(attached[EVALUATION]), json.loads(attached[SNAPSHOT])["log"]
        stated, counts = evaluation["snapshot_sha256"], evaluation["counts"]
        verdicts = [each["verdict"] for each in evaluation["controls"]]
        findings.records = int(evaluation["records"]["covered"])
        vkey, note = log["vkey"].encode(), log["checkpoint"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        findings.fail(
            "evidence", "report.malformed", "The attached evaluation or snapshot has another shape."
        )
        return
    if stated != sha256(attached[SNAPSHOT]).hexdigest():
        findings.fail("evidence", "report.evidence_differs", "The evaluation is of another snapshot.")
    elif any(verdicts.count(verdict) != count for verdict, count in counts.items()):
        findings.fail("evidence", "report.evidence_differs", "The figures are not those of the controls.")
    else:
        findings.hold("evidence", f"The evaluation of {len(verdicts)} controls is of the attached snapshot.")
    key = check_key(findings, trust, vkey)
    untrusted_note = None if note is None else note.encode()
    check_checkpoint(findings, trust, key, untrusted_note)
    check_witnesses(findings, trust, untrusted_note)
