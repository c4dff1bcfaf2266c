"""A checkpoint that the verifier kept from earlier, held against what the log is now.

It is the strongest thing an auditor can bring: whatever was signed then must stand unchanged in the log now, whoever
holds the log's keys today.
"""

from audit.errors import EpochInvalid, NoteInvalid
from audit.log.checkpoint import Checkpoint
from audit.log.epochs import EpochChain
from audit.log.merkle import TreeHead
from audit.log.note import VerifierKey
from audit.verify.report import Findings
from audit.verify.trust import Trust


def check_noted(
    findings: Findings,
    trust: Trust,
    key: VerifierKey | None,
    untrusted_note: bytes,
    epochs: EpochChain | None,
) -> TreeHead | None:
    """Check the signatures of a checkpoint that was kept.

    Args:
        findings: receives what does not hold.
        trust: what was known beforehand.
        key: the log's own key; None when there is none to believe.
        untrusted_note: the checkpoint.
        epochs: the log's key epochs, where they are known: the key of the checkpoint's epoch must have signed too.

    Returns:
        Its size and root; None when the log's keys did not sign it.
    """
    try:
        if key is None:
            raise NoteInvalid("There is no key to verify it with.")
        noted = Checkpoint.verify(untrusted_note, [key])
        if epochs is not None:
            Checkpoint.verify(untrusted_note, [key, epochs.signer_of(noted.head.size)])
    except (NoteInvalid, EpochInvalid) as error:
        findings.fail("noted", "noted.invalid", f"The checkpoint that was kept is not valid. {error.message}")
        return None
    if noted.origin != (trust.origin or key.name):
        findings.fail(
            "noted", "noted.other_log", f"The checkpoint that was kept is of another log, {noted.origin}."
        )
        return None
    return noted.head


class NotedTree:
    """Compares the tree of a kept checkpoint with the one that the records make, while they are read.

    Args:
        noted: what was signed then; None where there is nothing to compare.
    """

    def __init__(self, noted: TreeHead | None) -> None:
        self._noted = noted
        self._found: TreeHead | None = None

    @property
    def marks(self) -> list[int]:
        """Sizes at which the pass over the records must stop."""
        return [self._noted.size] if self._noted is not None and self._noted.size else []

    def at_mark(self, head: TreeHead, _last_record: bytes) -> None:
        """Keep the tree of that size; a `chain.AtMark`."""
        if self._noted is not None and head.size == self._noted.size:
            self._found = head

    def conclude(self, findings: Findings) -> None:
        """Say what was found."""
        noted = self._noted
        if noted is None or noted.size == 0:
            return
        if self._found is None:
            findings.fail(
                "noted",
                "noted.longer",
                f"The checkpoint that was kept was signed over {noted.size} records, and there are fewer: "
                "the log was cut, or this copy is older.",
            )
        elif self._found != noted:
            findings.fail(
                "noted",
                "noted.contradicted",
                f"The first {noted.size} records are not those that were signed when the checkpoint was kept: the log "
                "was rewritten.",
            )
        else:
            findings.hold(
                "noted", f"The {noted.size} records of the checkpoint that was kept stand unchanged."
            )
