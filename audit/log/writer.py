"""The log's one writer: a thread that takes whatever waits, commits it at once, and answers each caller.

Invariants: `append` returns only when its record is durable; a caller whose time ran out is never answered
later, and an intent of theirs that became durable gets the outcome `log.timeout`; after a storage failure
every waiting append fails. One commit for all who wait makes it 25 times faster under load (FACTS.md, Log).
"""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from audit.errors import AuditError, LogUnavailable, RecordInvalid
from audit.log.bundle_files import bundle_digest
from audit.log.cosignature import CosignerKey, posix_time
from audit.log.drafting import Prepared
from audit.log.epoch_key import EpochKeys
from audit.log.epochs import Epoch
from audit.log.merkle import TreeHead
from audit.log.note import Signature
from audit.log.noted_head import NotedHead
from audit.log.record import Draft, Kind, Record
from audit.log.sequencer import Sequencer
from audit.log.store import LogStore
from audit.log.waiting import Append, Errand, Request
from audit.ports import Clock, Signer

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)

#: Most requests that go into one commit.
_MAX_BATCH = 1024

#: Pause before another attempt by itself while the store does not work, in seconds.
_RETRY_AFTER_S = 1.0


class LogWriter:
    """Writes the log. It starts in recovery: no intent is taken before `declare_recovered`.

    Args:
        store: where the log is kept, open; the writer closes it, also when it cannot begin.
        clock: where time comes from.
        signer: the log's key.
        epoch_keys: the keys of the log's epochs; the next epoch begins now. None for a log without epochs.
        checkpoint_after_s: a checkpoint is signed at most this long after a record, in seconds.
        epoch_after_s: a key epoch lasts this long, in seconds.
        noted: where the newest checkpoint is noted apart from the store; None notes it nowhere.

    Raises:
        LogDamaged: the stored tail, tree or checkpoint do not fit together, or are older than the noted head.
        LogKeyRefused: a key is not the one that this log has.
        LogUnavailable: the next key epoch could not begin.
    """

    def __init__(
        self,
        store: LogStore,
        clock: Clock,
        signer: Signer,
        epoch_keys: EpochKeys | None = None,
        *,
        checkpoint_after_s: float = 1.0,
        epoch_after_s: float = 3600.0,
        noted: NotedHead | None = None,
    ) -> None:
        self._store = store
        try:
            self._sequencer = Sequencer(store, clock, signer, epoch_keys, noted)
            self._sequencer.begin_epoch()
        except BaseException:
            store.close()
            raise
        self._checkpoint_after_s = checkpoint_after_s
        self._queue: SimpleQueue[Request[Any] | None] = SimpleQueue()
        self._closed = False
        self._close_failures: list[AuditError] = []
        self._sign_at_s: float | None = None  # of time.monotonic(); so is the next
        self._epoch_after_s = epoch_after_s
        self._epoch_at_s = None if epoch_keys is None else time.monotonic() + epoch_after_s
        self._retry_at_s: float | None = None
        self._failing = False  # so that the server's log tells of a fault once, not with every refused append
        self._in_hand: list[Request[Any]] = []
        self._plan_signing()
        self._thread = Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def append(self, draft: Draft, timeout_s: float = 5.0) -> Record:
        """Append one record; returns when it is durable.

        Args:
            draft: what it tells.
            timeout_s: how long to wait, in seconds.

        Raises:
            LogUnavailable: it is not durable, or not known to be; nothing may be done on its strength.
            LogRecovering: it is an intent, and recovery is not over.
            RecordInvalid: the draft contradicts itself or the log; a defect of the caller's.
        """
        return self.append_all([draft], timeout_s)[0]

    def append_all(self, drafts: Sequence[Draft], timeout_s: float = 5.0) -> list[Record]:
        """Append records next to each other, all or none; as `append`."""
        return self._ask(Append([Prepared(draft) for draft in drafts]), timeout_s)

    def head(self) -> TreeHead:
        """Size and root of what is durable."""
        return self._sequencer.head

    def checkpoint(self, timeout_s: float = 5.0) -> bytes:
        """Sign what is durable now; returns the signed note (C2SP tlog-checkpoint), stored before.

        Raises:
            LogUnavailable: it could not be stored.
        """
        return self._ask(Errand(lambda sequencer: sequencer.checkpoint()), timeout_s)

    def add_bundle(self, digest: str, files: Mapping[str, bytes], timeout_s: float = 5.0) -> None:
        """Give the log a policy bundle, before the first record that names it. Adding it again does nothing.

        Args:
            digest: the bundle's digest, hex.
            files: its files by name.
            timeout_s: how long to wait, in seconds.

        Raises:
            RecordInvalid: the digest is not that of the files.
            LogUnavailable: it could not be stored.
        """
        if bundle_digest(files) != digest:
            raise RecordInvalid("The policy bundle's digest is not that of its files.")
        kept = dict(files)
        self._ask(Errand(lambda sequencer: sequencer.add_bundle(digest, kept)), timeout_s)

    def add_cosignature(
        self, size: int, key: CosignerKey, cosignature: Signature, timeout_s: float = 5.0
    ) -> None:
        """Keep what a witness signed on the checkpoint of `size` records, after it was verified.

        Raises:
            LogUnavailable: it could not be stored.
        """
        witness, at_posix_s, line = str(key), posix_time(cosignature.signature), str(cosignature)
        self._ask(
            Errand(lambda sequencer: sequencer.add_cosignature(size, witness, at_posix_s, line)), timeout_s
        )

    @property
    def recovering(self) -> bool:
        """Whether intents are still refused."""
        return self._sequencer.recovering

    @property
    def epoch(self) -> Epoch | None:
        """The present key epoch; None in a log without epochs."""
        return self._sequencer.epoch

    @property
    def unanchored(self) -> bool:
        """Whether the log was there at the start and its noted head was not, so a rollback would not show."""
        return self._sequencer.unanchored

    def open_intents(self, timeout_s: float = 5.0) -> list[Record]:
        """The intents without outcome, oldest first."""
        return self._ask(Errand(lambda sequencer: sequencer.open_intents()), timeout_s)

    def declare_recovered(self, timeout_s: float = 5.0) -> None:
        """Take intents from now on; called by `recovery.settle_open_intents`.

        Raises:
            LogRecovering: an intent is still without outcome.
        """
        self._ask(Errand(lambda sequencer: sequencer.declare_recovered()), timeout_s)

    def close(self) -> None:
        """Serve what waits, sign a last checkpoint, close the store. Closing again does nothing.

        Raises:
            AuditError: the last checkpoint or the closing failed; what was acknowledged is durable anyway.
        """
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        failures, self._close_failures = self._close_failures, []
        for failure in failures:
            raise failure

    def _ask(self, request: Request[_T], timeout_s: float) -> _T:
        if self._closed:
            raise _closed()
        self._queue.put(request)
        if not self._thread.is_alive():
            self._refuse_rest()  # it ended in between; nobody else would answer
        return request.wait(timeout_s)

    def _run(self) -> None:
        try:
            going_on = True
            while going_on:
                self._in_hand, going_on = self._gather()
                self._serve(self._in_hand)
            self._finish()
        finally:
            # Also when a defect of ours ends the thread: without log no access.
            self._closed = True
            self._refuse_rest()

    def _gather(self) -> tuple[list[Request[Any]], bool]:
        """Everything that waits, after waiting until something does or is due; and whether to go on."""
        requests: list[Request[Any]] = []
        dues = (self._sign_at_s, self._epoch_at_s, self._retry_at_s)
        due_s = [each for each in dues if each is not None]
        with suppress(Empty):
            first = self._queue.get(timeout=max(0, min(due_s) - time.monotonic()) if due_s else None)
            while first is not None:
                requests.append(first)
                if len(requests) == _MAX_BATCH:
                    return requests, True
                first = self._queue.get_nowait()
            return requests, False
        return requests, True

    def _serve(self, requests: Sequence[Request[Any]]) -> None:
        for request in requests:
            if isinstance(request, Errand) and not request.given_up:
                request.run(self._sequencer)
        self._commit([request for request in requests if isinstance(request, Append)])
        if self._sequencer.owing:
            self._commit([])
        needs_care = self._sequencer.owing or self._sequencer.broken
        self._retry_at_s = time.monotonic() + _RETRY_AFTER_S if needs_care else None
        self._change_epoch_when_due()
        self._sign_when_due()

    def _commit(self, appends: Sequence[Append]) -> None:
        # One whose caller gave up already is not written at all.
        waiting = [append for append in appends if not append.given_up]
        if not waiting and not self._sequencer.owing and not self._sequencer.broken:
            return
        try:
            answers = self._sequencer.commit([append.group for append in waiting])
        except AuditError as error:
            self._tell_failure(error)
            for append in waiting:
                append.answer(_unavailable(error))
            return
        if self._failing:
            self._failing = False
            _logger.warning("The log can be written again.")
        for append, answer in zip(waiting, answers, strict=True):
            if append.answer(answer) or isinstance(answer, AuditError):
                continue
            # Durable, but its caller gave up meanwhile and will not act.
            for record in answer:
                if record.kind is Kind.INTENT:
                    self._sequencer.owe(record, "log.timeout")

    def _tell_failure(self, error: AuditError) -> None:
        if not self._failing:
            self._failing = True
            _logger.error("The log cannot be written; nothing is done until it can.", exc_info=error)

    def _plan_signing(self) -> None:
        if not self._sequencer.unsigned:
            self._sign_at_s = None
        elif self._sign_at_s is None:
            self._sign_at_s = time.monotonic() + self._checkpoint_after_s

    def _sign_when_due(self) -> None:
        self._plan_signing()
        if self._sign_at_s is None or time.monotonic() < self._sign_at_s:
            return
        try:
            self._sequencer.checkpoint()
        except AuditError as error:
            self._tell_failure(error)
            self._sign_at_s = time.monotonic() + _RETRY_AFTER_S
        else:
            self._sign_at_s = None

    def _change_epoch_when_due(self) -> None:
        if self._epoch_at_s is None or time.monotonic() < self._epoch_at_s:
            return
        try:
            self._sequencer.begin_epoch()
        except AuditError as error:
            self._tell_failure(error)
            self._epoch_at_s = time.monotonic() + _RETRY_AFTER_S
        else:
            self._epoch_at_s = time.monotonic() + self._epoch_after_s

    def _finish(self) -> None:
        for last_work in (self._settle_and_sign, self._store.close):
            try:
                last_work()
            except AuditError as error:
                self._close_failures.append(error)

    def _settle_and_sign(self) -> None:
        self._sequencer.commit([])
        if self._sequencer.unsigned:
            self._sequencer.checkpoint()

    def _refuse_rest(self) -> None:
        rest: list[Request[Any] | None] = [*self._in_hand]
        with suppress(Empty):
            while True:
                rest.append(self._queue.get_nowait())
        for request in rest:
            if request is not None:
                request.answer(_closed())


def _closed() -> LogUnavailable:
    return LogUnavailable("The log is closed; nothing was done.", "Start the daemon again.")


def _unavailable(error: AuditError) -> LogUnavailable:
    """An error of its own for each caller: exceptions carry the trace of the thread that raises them."""
    each = LogUnavailable(error.message, error.hint)
    each.__cause__ = error
    return each
