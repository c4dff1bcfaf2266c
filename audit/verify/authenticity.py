"""Who signed: the log's key, the checkpoint, and what a trust file demands."""

from audit.errors import EpochInvalid, NoteInvalid
from audit.log.checkpoint import Checkpoint
from audit.log.epochs import EpochChain
from audit.log.merkle import TreeHead
from audit.log.note import VerifierKey
from audit.verify.cosigned import check_witnesses
from audit.verify.report import Findings
from audit.verify.trust import Trust


def check_key(findings: Findings, trust: Trust, untrusted_vkey: bytes | None) -> VerifierKey | None:
    """Find the key to verify with: the trusted one, or else the one that came along.

    Args:
        findings: receives the check.
        trust: what was known beforehand.
        untrusted_vkey: the key that came along, C2SP text; None when it is missing.
    """
    own: VerifierKey | None = None
    try:
        if untrusted_vkey is None:
            raise NoteInvalid("It is missing.")
        own = VerifierKey.parse(untrusted_vkey.decode(errors="replace"))
    except NoteInvalid as error:
        findings.fail("key", "key.malformed", f"The log's public key cannot be read. {error.message}")
    trusted = trust.log_vkey
    if own is not None and trusted is not None:
        if own == trusted:
            findings.hold("key", f"The key is the trusted one: {trusted}.")
        else:
            findings.fail("key", "key.not_trusted", f"The key is not the trusted one, but {own}.")
    elif own is not None:
        findings.hold(
            "key",
            f"SELF-ASSERTED: the key {own} came with the log, so all this shows is that the log fits together. "
            "Compare it with a key you were given by another way, or name that in a trust file.",
        )
    return trusted or own


def check_checkpoint(
    findings: Findings,
    trust: Trust,
    key: VerifierKey | None,
    untrusted_note: bytes | None,
    epochs: EpochChain | None = None,
) -> TreeHead | None:
    """Check the checkpoint's signatures and origin.

    Args:
        epochs: the log's key epochs, where it has them: then the key of the checkpoint's epoch must have signed too.

    Returns:
        The signed size and root; None when there is none to believe.
    """
    if untrusted_note is None:
        findings.fail("checkpoint", "checkpoint.missing", "There is no signed checkpoint.")
        return None
    if key is None:
        findings.fail(
            "checkpoint", "checkpoint.unverifiable", "There is no key to verify the checkpoint with."
        )
        return None
    try:
        checkpoint = Checkpoint.verify(untrusted_note, [key])
        signers = [key]
        if epochs is not None:
            # Only the epoch of that size will do: a later key may not speak of what was before it.
            signers.append(epochs.signer_of(checkpoint.head.size))
            Checkpoint.verify(untrusted_note, signers)
    except (NoteInvalid, EpochInvalid) as error:
        findings.fail("checkpoint", "checkpoint.invalid", f"The checkpoint is not valid. {error.message}")
        return None
    findings.checkpoint = checkpoint
    if checkpoint.origin != (trust.origin or key.name):
        findings.fail(
            "checkpoint", "checkpoint.other_log", f"The checkpoint is of another log, {checkpoint.origin}."
        )
        return None
    findings.hold(
        "checkpoint",
        f"{' and '.join(each.name for each in signers)} signed the checkpoint over {checkpoint.head.size} records, "
        f"root {checkpoint.head.root.hex()}.",
    )
    return checkpoint.head


def check_demands(findings: Findings, trust: Trust, untrusted_note: bytes | None) -> None:
    """Check each further protection that the trust file asks for; one that this version cannot find is absent."""
    check_witnesses(findings, trust, untrusted_note)
    for demand in trust.demands:
        findings.fail(
            "trust", "trust.unmet", f"The trust file asks for {demand}; there is none that can be checked."
        )
