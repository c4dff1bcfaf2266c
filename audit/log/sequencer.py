"""The log's one sequence: gives each record its number, its `prev` and its place in the tree, and commits.

Single-threaded and without waiting; `writer.py` puts a queue and a thread before it. Invariants: what is in
memory is what the store acknowledged last; after any failed write the store is reopened and memory rebuilt
from stored bytes before anything is written again; an intent nobody will act on gets its outcome from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from audit.errors import (
    AuditError,
    EpochInvalid,
    LogDamaged,
    LogKeyRefused,
    LogRecovering,
    NoteInvalid,
    RecordInvalid,
)
from audit.log.checkpoint import Checkpoint
from audit.log.drafting import Prepared, outcome_of, take_stamp
from audit.log.epoch_key import EpochKeys
from audit.log.epochs import Epoch
from audit.log.merkle import Frontier, TreeHead, frontier_at
from audit.log.note import VerifierKey
from audit.log.noted_head import NotedHead
from audit.log.record import Draft, Kind, Record
from audit.log.store import Batch, Inputs, LogStore
from audit.log.tail import check_tail
from audit.ports import Clock, Signer

#: Policy inputs remembered as stored; beyond that the store is asked.
_MAX_KNOWN_INPUTS = 10_000

#: What becomes of one group of drafts: its records, or why it was refused.
Answer = list[Record] | AuditError


@dataclass(slots=True)
class _Memory:
    """What is known of the stored log."""

    frontier: Frontier
    prev: str
    open_intents: dict[str, Record]
    bundles: set[str]
    epoch: Epoch | None
    signed_size: int
    inputs: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Plan:
    """A batch in the making. Nothing of it counts until it is committed."""

    size: int
    prev: str
    answers: list[Answer] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    inputs: dict[str, Inputs] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    opened: dict[str, Record] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)


class Sequencer:
    """Appends to a store.

    Args:
        store: where the log is kept, open.
        clock: where time comes from.
        signer: the log's key; its name is the log's origin.
        epoch_keys: the keys of its epochs; None for a log that has none, such as a small one in a test.
        noted: where the newest checkpoint is noted apart from the store.

    Raises:
        LogDamaged: the stored tail, tree or checkpoint do not fit together, or are older than the noted head.
        LogKeyRefused: a key is not the one that this log has.
    """

    def __init__(
        self,
        store: LogStore,
        clock: Clock,
        signer: Signer,
        epoch_keys: EpochKeys | None = None,
        noted: NotedHead | None = None,
    ) -> None:
        self._store = store
        self._epoch_keys = epoch_keys
        self._clock = clock
        self._signer = signer
        self._key = VerifierKey.parse(signer.vkey)
        if (store.origin, store.vkey) != (self._key.name, signer.vkey):
            raise LogKeyRefused(
                "The signing key is not the one this log was begun with.",
                "Restore the key that belongs to it.",
            )
        #: Whether intents of an earlier run may still be without outcome.
        self.recovering = True
        self._owed: dict[str, Draft] = {}
        #: Whether a write failed and what is stored must be looked at again.
        self.broken = False
        self._attempted: frozenset[bytes] = frozenset()
        self._noted = noted
        # First of all: a log that was rolled back must not make the epoch keys settle for what it says.
        self._noted_size = self._check_noted(store.size())
        #: Whether the log has records and no noted head: then a rollback before this start would not show.
        self.unanchored = noted is not None and self._noted_size is None and store.size() > 0
        self._memory = self._read()

    @property
    def head(self) -> TreeHead:
        """Size and root of what is committed."""
        return self._memory.frontier.head()

    @property
    def unsigned(self) -> bool:
        """Whether there are records that no checkpoint covers, or whose checkpoint is not noted apart."""
        size = self._memory.frontier.size
        return size != self._memory.signed_size or (self._noted is not None and size != self._noted_size)

    @property
    def owing(self) -> bool:
        """Whether an intent that nobody will act on still waits for its outcome."""
        return bool(self._owed)

    def open_intents(self) -> list[Record]:
        """The intents without outcome, oldest first."""
        return sorted(self._memory.open_intents.values(), key=lambda record: record.seq)

    def declare_recovered(self) -> None:
        """Take intents from now on.

        Raises:
            LogRecovering: an intent is still without outcome.
        """
        still_open = len(self._memory.open_intents)
        if still_open:
            raise LogRecovering(
                f"{still_open} interrupted accesses are not settled yet.", "Settle them first."
            )
        self.recovering = False

    def owe(self, intent: Record, code: str) -> None:
        """Take note that nobody will act on this intent; its outcome comes with the next commit."""
        self._owed[intent.id] = outcome_of(intent, code, {"acted": False})

    def commit(self, groups: Sequence[Sequence[Prepared]]) -> list[Answer]:
        """Append groups of drafts, each as a whole or not at all, in one commit.

        Returns:
            For each group its records, or the error that says why it alone was refused.

        Raises:
            LogUnavailable: the commit failed; any of the records may be stored or not.
            LogDamaged: what is stored is not what was acknowledged.
        """
        self._restore()
        owed = [[Prepared(draft)] for draft in self._owed.values()]
        plan = _Plan(self._memory.frontier.size, self._memory.prev)
        for group in (*owed, *groups):
            try:
                self._check(plan, group)
            except (RecordInvalid, LogRecovering) as refusal:
                plan.answers.append(refusal)
            else:
                plan.answers.append(self._place(plan, group))
        if plan.records:
            self._write(plan)
        # One that was refused has its outcome already: an earlier commit failed, but was stored.
        self._owed.clear()
        return plan.answers[len(owed) :]

    def checkpoint(self) -> bytes:
        """Sign what is committed, store the checkpoint, return the signed note.

        Raises:
            LogUnavailable: it could not be stored; then it was not handed out either.
        """
        self._restore()
        stored = self._store.latest_checkpoint()
        head = self.head
        if stored is not None and stored[0] == head.size:
            note = stored[1]
        else:
            note = Checkpoint(self._key.name, head).sign(self._signers())
            self.broken = True  # until the store says otherwise
            self._store.add_checkpoint(head.size, note)
            self.broken = False
        self._memory.signed_size = head.size
        if self._noted is not None and self._noted_size != head.size:
            self._noted.write(note)
            self._noted_size = head.size
        return note

    def begin_epoch(self) -> None:
        """Let the next key epoch begin, and destroy the key of the present one; without epochs, do nothing.

        Raises:
            LogUnavailable: it could not be recorded, or the old key not destroyed; the epoch may have begun or not,
                which the next write finds out.
            LogKeyRefused: the new key could not be made.
        """
        keys = self._epoch_keys
        if keys is None:
            return
        self._restore()
        present = self._memory.epoch
        number = 0 if present is None else present.number + 1
        key = VerifierKey.parse(keys.prepare(self._key.name, number).vkey)
        signer = self._signer if present is None else keys.present
        epoch = Epoch.begin(self._key.name, number, self.head, key, signer)
        plan = _Plan(self._memory.frontier.size, self._memory.prev)
        self._place(plan, [Prepared(epoch.draft())])
        self._write(plan)
        self.broken = True  # until the keys have changed places too
        keys.promote()
        self.broken = False
        self._memory.epoch = epoch

    @property
    def epoch(self) -> Epoch | None:
        """The present key epoch; None in a log without epochs."""
        return self._memory.epoch

    def add_bundle(self, digest: str, files: dict[str, bytes]) -> None:
        """Store a policy bundle, unless it is stored already."""
        self._restore()
        if digest not in self._memory.bundles:
            self.broken = True
            self._store.add_bundle(digest, files)
            self.broken = False
            self._memory.bundles.add(digest)

    def add_cosignature(self, size: int, witness: str, at_posix_s: int, line: str) -> None:
        """Store a witness's signature line.

        Raises:
            LogUnavailable: it could not be stored.
        """
        self._restore()
        self._store.add_cosignature(size, witness, at_posix_s, line)

    def _check(self, plan: _Plan, group: Sequence[Prepared]) -> None:
        """Refuse a group that verification would later find fault with."""
        opened: set[str] = set()
        closed: set[str] = set()
        ids: set[str] = set()
        for prepared in group:
            draft = prepared.draft
            if draft.kind is Kind.INTENT:
                if self.recovering:
                    raise LogRecovering(
                        "The daemon is still settling what was interrupted; nothing was done.",
                        "Try again shortly.",
                    )
                opened.add(prepared.id)
            if draft.intent is not None:
                known = draft.intent in opened or draft.intent in plan.opened or self._is_open(draft.intent)
                if not known or draft.intent in closed or draft.intent in plan.closed:
                    raise RecordInvalid("The outcome's intent is not in the log, or has its outcome already.")
                closed.add(draft.intent)
            if draft.bundle is not None and draft.bundle not in self._memory.bundles:
                raise RecordInvalid("The record names a policy bundle that was not given to the log before.")
            # A random id does not collide; one that was given may.
            if draft.id is not None:
                if draft.id in ids or draft.id in plan.ids or self._store.has_id(draft.id):
                    raise RecordInvalid("A record with this id is in the log already.")
                ids.add(draft.id)
        plan.ids |= ids
        plan.closed |= closed

    def _is_open(self, intent: str) -> bool:
        return intent in self._memory.open_intents

    def _place(self, plan: _Plan, group: Sequence[Prepared]) -> list[Record]:
        placed: list[Record] = []
        for prepared in group:
            record = prepared.place(plan.size, plan.prev, take_stamp(self._clock))
            plan.size += 1
            plan.prev = record.leaf_hash.hex()
            placed.append(record)
            if record.kind is Kind.INTENT:
                plan.opened[record.id] = record
            digest, data = record.inputs, prepared.draft.inputs
            if digest is not None and data is not None and self._is_new(digest, plan):
                plan.inputs[digest] = Inputs(digest, record.seq, data)
        plan.records += placed
        return placed

    def _is_new(self, digest: str, plan: _Plan) -> bool:
        return not (digest in self._memory.inputs or digest in plan.inputs or self._store.has_inputs(digest))

    def _write(self, plan: _Plan) -> None:
        leaves = [record.leaf_hash for record in plan.records]
        frontier = self._memory.frontier.copy()
        nodes = frontier.extend(leaves)
        self._attempted = frozenset(leaves)
        self.broken = True  # until the store says otherwise
        self._store.commit(Batch(plan.records, tuple(plan.inputs.values()), nodes))
        self.broken = False
        memory = self._memory
        memory.frontier = frontier
        memory.prev = plan.prev
        memory.open_intents |= plan.opened
        for intent in plan.closed:
            del memory.open_intents[intent]
        if len(memory.inputs) > _MAX_KNOWN_INPUTS:
            memory.inputs.clear()
        memory.inputs |= plan.inputs.keys()

    def _restore(self) -> None:
        """After a failed write: reopen, and believe only what is really stored."""
        if not self.broken:
            return
        acknowledged = self.head
        self._store.reopen()
        size = self._store.size()
        if (
            size < acknowledged.size
            or frontier_at(acknowledged.size, self._store.hashes).head() != acknowledged
        ):
            raise LogDamaged(
                "Records that were acknowledged are missing.", "Restore the log from its backup."
            )
        unheard = self._store.hashes(0, acknowledged.size, size - acknowledged.size)
        if not self._attempted.issuperset(unheard):
            raise LogDamaged("The log holds records that its daemon did not write.", "Find out who did.")
        memory = self._read()
        # Stored, but its caller was told that it was not: nobody acts on it.
        for intent in memory.open_intents.keys() - self._memory.open_intents.keys():
            self.owe(memory.open_intents[intent], "log.unavailable")
        self._memory = memory
        self.broken = False

    def _read(self) -> _Memory:
        """What the store holds, after checking that tail, tree and checkpoint fit together."""
        size = self._store.size()
        memory = _Memory(
            prev=check_tail(self._store, size),
            frontier=frontier_at(size, self._store.hashes),
            open_intents={record.id: record for record in self._store.open_intents()},
            bundles=set(self._store.bundles()),
            epoch=self._epoch_at(size),
            signed_size=self._check_checkpoint(size),
        )
        if self._epoch_keys is not None:
            self._epoch_keys.settle(None if memory.epoch is None else memory.epoch.key)
        elif memory.epoch is not None:
            raise LogKeyRefused("This log has key epochs, and no epoch key was given.", "Restore its keys.")
        return memory

    def _epoch_at(self, size: int) -> Epoch | None:
        """The key epoch that signs the tree of `size` records."""
        record = self._store.epoch_record(size)
        if record is None:
            return None
        try:
            return Epoch.read(record.bytes)
        except EpochInvalid as error:
            raise LogDamaged(f"The log's key epochs are damaged: {error.message}") from error

    def _signers(self) -> list[Signer]:
        if self._epoch_keys is None:
            return [self._signer]
        return [self._signer, self._epoch_keys.present]

    def _check_checkpoint(self, size: int) -> int:
        stored = self._store.latest_checkpoint()
        if stored is None:
            return 0
        epoch = self._epoch_at(stored[0])
        try:
            checkpoint = Checkpoint.verify(
                stored[1], [self._key] if epoch is None else [self._key, epoch.key]
            )
        except NoteInvalid as error:
            raise LogDamaged(f"The log's stored checkpoint is not valid: {error.message}") from error
        head = checkpoint.head
        if (checkpoint.origin, head.size) != (self._key.name, stored[0]) or head.size > size:
            raise LogDamaged(
                "The log is shorter than its signed checkpoint says.", "Restore it from its backup."
            )
        if frontier_at(head.size, self._store.hashes).head() != head:
            raise LogDamaged(
                "The log is not the one its checkpoint was signed for.", "Run `strongroom audit verify`."
            )
        return head.size

    def _check_noted(self, size: int) -> int | None:
        """Compare with the head that was noted apart; returns its size, None where there is none."""
        note = None if self._noted is None else self._noted.read()
        if note is None or self._noted is None:
            return None
        try:
            head = Checkpoint.verify(note, [self._key]).head
        except NoteInvalid as error:
            raise LogDamaged(
                f"The head noted in {self._noted.path} was not signed by this log's key.",
                "Find out who changed it; restore it from its backup.",
            ) from error
        way_on = (
            "Put the newest copy of log.db back. If that is lost for good, remove "
            f"{self._noted.path}: the next start then records that records may be missing."
        )
        if head.size > size:
            raise LogDamaged(
                f"The log is older than the head that was noted: it has {size} records, and had {head.size}.",
                way_on,
            )
        if frontier_at(head.size, self._store.hashes).head() != head:
            raise LogDamaged("The log is not the one whose head was noted.", way_on)
        return head.size
