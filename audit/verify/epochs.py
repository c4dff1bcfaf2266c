"""Whether the epoch keys of a log follow from each other, and each change was signed over the tree that is here.

Two steps: `follow` reads the records that begin epochs and believes only what the key before signed; then the one pass
over the records stops at each of them, and `compare` holds root and record against what was signed.
"""

from collections.abc import Iterable

from audit.errors import EpochInvalid
from audit.log.epochs import Epoch, EpochChain
from audit.log.merkle import TreeHead, leaf_hash
from audit.log.note import VerifierKey
from audit.verify.report import Findings
from audit.verify.trust import Trust


class EpochCheck:
    """The key epochs of a log under verification.

    Args:
        findings: receives the checks.
        trust: what was known beforehand.
        log_key: the log's own key; None when there is none to believe.
    """

    def __init__(self, findings: Findings, trust: Trust, log_key: VerifierKey | None) -> None:
        self._findings = findings
        self._trust = trust
        self._chain = None if log_key is None else EpochChain(log_key.name, log_key)
        self._starts: dict[int, tuple[Epoch, bytes]] = {}
        self._bad = False

    @property
    def chain(self) -> EpochChain | None:
        """The epochs that follow from the log's key; None where there are none, or where they do not hold."""
        return self._chain if self._starts and not self._bad else None

    @property
    def marks(self) -> list[int]:
        """Sizes at which the pass over the records must stop: before and behind each record that begins an epoch."""
        return sorted({size + step for size in self._starts for step in (0, 1)} - {0})

    def follow(self, untrusted_records: Iterable[bytes]) -> None:
        """Follow the epochs from the log's key to the last.

        Args:
            untrusted_records: the bytes of the records that begin them, in order.
        """
        if self._chain is None:
            return
        try:
            for line in untrusted_records:
                epoch = Epoch.read(line)
                self._chain.follow(epoch)
                self._starts[epoch.start.size] = (epoch, leaf_hash(line))
            if self._starts and self._trust.epoch_vkey is not None:
                self._chain.begun_with(self._trust.epoch_vkey)
        except EpochInvalid as error:
            self._fail("epoch.invalid", error.message)

    def at_mark(self, head: TreeHead, last_record: bytes) -> None:
        """Hold the tree against what was signed when an epoch began; a `chain.AtMark`."""
        if head.size in self._starts:
            epoch = self._starts[head.size][0]
            if epoch.start != head:
                self._tree_changed(epoch)
        if head.size - 1 in self._starts:
            epoch, leaf = self._starts[head.size - 1]
            if leaf != leaf_hash(last_record):
                self._fail(
                    "epoch.invalid",
                    f"Record {head.size - 1} is not the one that begins key epoch {epoch.number}.",
                )

    def conclude(self, size: int, *, listed: int | None) -> None:
        """Say what was found.

        Args:
            size: how many records there are.
            listed: how many of them begin a key epoch; None where nobody counted, or the records do not hold to
                their end.
        """
        if self._bad:
            return
        missing = sum(start >= size for start in self._starts)
        if missing:
            self._fail("epoch.missing", f"{missing} key epochs begin behind the end of the log.")
        elif listed is not None and listed != len(self._starts):
            self._fail(
                "epoch.unlisted", "There are key epochs in the records that are not listed, or the reverse."
            )
        elif self._starts:
            by = self._trust.epoch_vkey
            whose = (
                "SELF-ASSERTED, from the log's key on" if by is None else f"from the trusted key {by.name} on"
            )
            self._findings.hold(
                "epochs",
                f"{len(self._starts)} key epochs follow from each other, {whose}, and each was begun over this tree.",
            )
        elif self._trust.epoch_vkey is not None:
            self._fail("epoch.missing", "The trust file asks for key epochs; there are none.")
        else:
            self._findings.hold(
                "epochs", "NOT PRESENT: no evolving key; whoever has the log's key can write it anew."
            )

    def _tree_changed(self, epoch: Epoch) -> None:
        earlier = [start for start in self._starts if start < epoch.start.size]
        first, last = max(earlier, default=0), epoch.start.size - 1
        self._fail(
            "epoch.tree_changed",
            f"A record from {first} to {last} is not the one over which key epoch {epoch.number} was begun: "
            "it was changed, or the log written anew.",
        )

    def _fail(self, finding: str, sentence: str) -> None:
        if not self._bad:
            self._findings.fail("epochs", finding, sentence)
        self._bad = True
