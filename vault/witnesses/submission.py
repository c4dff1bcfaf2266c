"""What the log owes one witness: each new checkpoint, and a fresh word on the same one; and what is found if not.

One attempt at a time, of the newest checkpoint alone: those between are proved by it. Invariant: nothing here makes a
record, so cosigning never causes what it must cosign next.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from audit.log.checkpoint import Checkpoint
from audit.log.note import Note
from audit.log.proof_files import ConsistencyFile
from audit.log.proofs import StoredTree
from audit.log.query import LogQuery
from audit.log.writer import LogWriter
from vault.clock import HostClock
from vault.config import WitnessAddress
from vault.findings import Findings
from vault.witnesses.client import WitnessClient, WitnessContradicts, WitnessElsewhere, WitnessSilent

_CODES = ("witness.missing", "witness.stale", "witness.refuses")


@dataclass(slots=True)
class Submission:
    """The state between log and one witness; used by one thread.

    Attributes:
        address: the witness.
        max_age_s: its cosignature is stale after this time, and asked for again after half of it.
    """

    address: WitnessAddress
    max_age_s: float
    log: LogWriter
    reader: LogQuery
    findings: Findings
    monotonic_s: Callable[[], float] = time.monotonic
    _client: WitnessClient | None = None
    _size: int | None = None
    _cosigned_s: float | None = None

    def __post_init__(self) -> None:
        last = self.reader.cosigned_last(str(self.address.key))
        if last is not None:
            self._size, at = last
            age_s = max(0.0, (HostClock().now() - at).total_seconds())
            self._cosigned_s = self.monotonic_s() - age_s

    def close(self) -> None:
        """Let the connection go."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def attempt(self) -> bool:
        """Have the newest checkpoint cosigned, if it is not yet or not lately. Tells whether nothing is owed now.

        Raises:
            StrongroomError: the log or the findings cannot be read or written.
        """
        note = self.reader.latest_checkpoint()
        if note is None:
            return True
        head = Checkpoint.parse(Note.parse(note).untrusted_text).head
        if head.size == self._size and self._age_s() < self.max_age_s / 2:
            return True
        try:
            self._submit(note, head.size)
        except WitnessSilent as error:
            self.close()
            self._tell_silence(error)
        except WitnessContradicts:
            self._tell(
                "witness.refuses",
                f"It does not find that the log of {head.size} records extends what it cosigned: "
                "the log was changed or forked.",
            )
        except WitnessElsewhere as error:
            self._tell(
                "witness.refuses",
                f"It cosigned {error.size} records of this log, which has {head.size}: the log was cut or put back.",
            )
        else:
            for code in _CODES:
                self.findings.close(code, self._resource)
            return True
        return False

    def _submit(self, note: bytes, size: int) -> None:
        old = self._size if self._size is not None and self._size <= size else 0
        try:
            self._ask(note, old, size)
        except WitnessElsewhere as error:
            # It has seen more or less than we know of: an answer was lost, or it is new. More than there is, is a fork.
            if error.size > size:
                raise
            self._ask(note, error.size, size)

    def _ask(self, note: bytes, old: int, size: int) -> None:
        if self._client is None:
            self._client = WitnessClient(self.address)
        proof = StoredTree(size, self.reader.hashes).consistency(old)
        cosignature = self._client.add_checkpoint(bytes(ConsistencyFile(old, tuple(proof), note)), note)
        self.log.add_cosignature(size, self.address.key, cosignature)
        self._size, self._cosigned_s = size, self.monotonic_s()

    def _age_s(self) -> float:
        return float("inf") if self._cosigned_s is None else self.monotonic_s() - self._cosigned_s

    def _tell_silence(self, error: WitnessSilent) -> None:
        if self._cosigned_s is None:
            self._tell("witness.missing", f"It has never cosigned this log. {error.message}")
        elif self._age_s() > self.max_age_s:
            self._tell(
                "witness.stale", f"It has not cosigned for more than {self.max_age_s:g} s. {error.message}"
            )

    def _tell(self, code: str, sentence: str) -> None:
        self.findings.open(code, resource=self._resource, sentence=f"{self.address.key.name}: {sentence}")

    @property
    def _resource(self) -> str:
        return f"witness:{self.address.key.name}"
