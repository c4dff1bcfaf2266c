"""Who witnessed a checkpoint: the quorum of cosignatures that a trust file demands."""

from datetime import datetime

from audit.errors import NoteInvalid
from audit.log.cosignature import CosignerKey
from audit.log.note import Note
from audit.verify.report import Findings
from audit.verify.trust import Trust


def check_witnesses(findings: Findings, trust: Trust, untrusted_note: bytes | None) -> None:
    """Check that enough of the trusted witnesses cosigned a checkpoint; without a demand there is nothing to check.

    Args:
        findings: receives the check.
        trust: which witnesses count, and how many it takes.
        untrusted_note: the checkpoint whose log signatures are checked elsewhere; None when there is none.
    """
    if not trust.quorum:
        return
    try:
        if untrusted_note is None:
            raise NoteInvalid("There is no checkpoint.")
        note = Note.parse(untrusted_note)
        cosigned = [(key, key.signed_at(note)) for key in trust.witnesses if _is_on(key, note)]
    except NoteInvalid as error:
        findings.fail("witnesses", "witness.invalid", f"The cosignatures do not hold. {error.message}")
        return
    demanded = f"{trust.quorum} of {len(trust.witnesses)} witnesses"
    if len(cosigned) < trust.quorum:
        found = _listed(cosigned) or "none"
        findings.fail(
            "witnesses",
            "witness.missing",
            f"The trust file asks for {demanded} on the checkpoint; cosigned by: {found}.",
        )
        return
    findings.hold("witnesses", f"As asked, {demanded} or more cosigned the checkpoint: {_listed(cosigned)}.")


def _is_on(key: CosignerKey, note: Note) -> bool:
    return any((each.name, each.key_id) == (key.name, key.id) for each in note.signatures)


def _listed(cosigned: list[tuple[CosignerKey, datetime]]) -> str:
    return ", ".join(f"{key.name} at {at:%Y-%m-%dT%H:%M:%SZ}" for key, at in cosigned)
