"""What records say to each other: ids occur once, intents have one outcome, digests lead to stored bytes.

Also in flat memory: what must be compared across the whole log is sorted, on the disk where it is much.
"""

from collections.abc import Collection, Iterable
from contextlib import ExitStack
from re import Match
from typing import Self

from audit.log import epochs
from audit.verify.report import BadRecord, Findings, FirstBad
from audit.verify.sorted_rows import SortedRows

_EPOCH = epochs.ACTION.encode()
_ID_BYTES = 16
_DIGEST_BYTES = 32
_SEQ_BYTES = 8

#: Rows collected before they are handed on.
_ROWS = 4096


class Meaning:
    """Examines each record of a chain, and compares them at the end. A context manager.

    Args:
        bundles: digests of the policy bundles at hand, hex.
        noted_inputs: how many digests of policy inputs to remember as noted already.
    """

    def __init__(self, bundles: Collection[str], noted_inputs: int = 100_000) -> None:
        #: How many records begin a key epoch.
        self.epoch_records = 0
        self._bundles = frozenset(bundles)
        self._named_bundles: set[str] = set()
        self._open: dict[bytes, int] = {}
        self._stack = ExitStack()
        self._ids = self._stack.enter_context(SortedRows(_ID_BYTES + _SEQ_BYTES))
        self._new_ids: list[bytes] = []
        self._inputs = self._stack.enter_context(SortedRows(_DIGEST_BYTES + _SEQ_BYTES))
        self._noted_inputs: set[bytes] = set()
        self._max_noted_inputs = noted_inputs
        self._last_at = b""
        self._steps_back: list[int] = []
        self._steps_back_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def examine(self, seq: int, found: Match[bytes]) -> None:
        """Look at one record; a `chain.Examine`.

        Raises:
            BadRecord: it contradicts an earlier one, or names a bundle that is not there.
        """
        record_id, kind, intent, inputs, bundle, at, action = found.group(
            "id", "kind", "intent", "inputs", "bundle", "at", "action"
        )
        self.epoch_records += action == _EPOCH
        number = seq.to_bytes(_SEQ_BYTES)
        self._new_ids.append(bytes.fromhex(record_id.decode()) + number)
        if len(self._new_ids) == _ROWS:
            self._hand_on_ids()
        if kind == b"intent":
            self._open[record_id] = seq
        elif intent is not None and self._open.pop(intent, None) is None:
            sentence = f"Record {seq} is the outcome of no intent, or a second one."
            raise BadRecord(FirstBad(seq, record_id.decode(), "outcome.without_intent"), sentence)
        if inputs is not None and inputs not in self._noted_inputs:
            if len(self._noted_inputs) >= self._max_noted_inputs:
                self._noted_inputs.clear()
            self._noted_inputs.add(inputs)
            self._inputs.extend([bytes.fromhex(inputs.decode()) + number])
        if bundle is not None and bundle.decode() not in self._named_bundles:
            if bundle.decode() not in self._bundles:
                sentence = f"Record {seq} was decided by a policy bundle that is not here."
                raise BadRecord(FirstBad(seq, record_id.decode(), "bundle.missing"), sentence)
            self._named_bundles.add(bundle.decode())
        if at < self._last_at:
            self._steps_back_count += 1
            self._steps_back += [seq] if not self._steps_back else []
        self._last_at = at

    def check_ids(self, end: int) -> None:
        """Check that no id occurs twice before record `end`.

        Raises:
            BadRecord: one does; the earliest record that repeats one.
        """
        self._hand_on_ids()
        before, repeated = b"", None
        for row in self._ids:
            if row[:_ID_BYTES] == before:
                seq = int.from_bytes(row[_ID_BYTES:])
                repeated = min((seq, before), repeated or (seq, before))
            before = row[:_ID_BYTES]
        if repeated is not None and repeated[0] < end:
            seq, record_id = repeated
            raise BadRecord(
                FirstBad(seq, record_id.hex(), "record.id_repeated"), f"Record {seq} has the id of another."
            )

    def check_inputs(self, present: Iterable[bytes]) -> int:
        """Check that the policy inputs at hand are those that records name.

        Args:
            present: digests (32 bytes) in rising order.

        Returns:
            How many there are.

        Raises:
            BadRecord: a record names one that is not there.
            LookupError: there is one that no record names.
        """
        count, unnamed, at_hand = 0, False, iter(present)
        held = next(at_hand, None)
        before = b""
        missing: list[int] = []
        for row in self._inputs:
            digest, seq = row[:_DIGEST_BYTES], int.from_bytes(row[_DIGEST_BYTES:])
            if digest == before:
                continue  # named by several records
            before = digest
            while held is not None and held < digest:
                unnamed, held = True, next(at_hand, None)
            if held == digest:
                count, held = count + 1, next(at_hand, None)
            else:
                missing = [min([seq, *missing])]
        for seq in missing:
            sentence = f"Record {seq} names policy inputs that are not here."
            raise BadRecord(FirstBad(seq, None, "inputs.missing"), sentence)
        if unnamed or held is not None:
            raise LookupError
        return count

    def report(self, findings: Findings, *, all_named: bool) -> None:
        """Say what was found of outcomes, bundles and the clock.

        Args:
            findings: receives the checks.
            all_named: whether a bundle that no record names is a fault; a live log may have one in waiting.
        """
        still_open = (
            f"{len(self._open)} accesses were not over yet" if self._open else "every access was over"
        )
        findings.hold(
            "intents", f"Each outcome has its intent, and no intent has two; {still_open} at the end."
        )
        unnamed = self._bundles - self._named_bundles
        if unnamed and all_named:
            findings.fail("policies", "bundle.unnamed", "There is a policy bundle that no record names.")
        else:
            findings.hold(
                "policies", f"{len(self._named_bundles)} policy bundles are here and have their digests."
            )
        clock = "Time never runs backwards."
        if self._steps_back_count:
            clock = (
                f"The clock was set back {self._steps_back_count} times, first at record {self._steps_back[0]}; "
                "the order of records rests on their numbers."
            )
        findings.hold("clock", clock)

    def _hand_on_ids(self) -> None:
        self._ids.extend(self._new_ids)
        self._new_ids = []
