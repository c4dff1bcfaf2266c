"""Keeps the log's witnesses at its newest checkpoint: a thread for each, so that a slow one holds up no other.

No append waits for a witness. Who wants a witnessed checkpoint, such as an export, waits for it here, and not for ever.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from audit.log.query import LogQuery
from audit.log.writer import LogWriter
from policies.errors import StrongroomError
from vault.config import Settings
from vault.findings import Findings
from vault.witnesses.submission import Submission

_logger = logging.getLogger(__name__)

#: A new checkpoint is looked for this often; those of one moment go out as one.
_LOOK_EVERY_S = 1.0
#: While a witness does not answer, it is asked ever less often, at last this often.
_LONGEST_PAUSE_S = 60.0
_WAIT_STEP_S = 0.05


@dataclass(frozen=True, slots=True)
class Standing:
    """A witness's name; size of the largest checkpoint that it cosigned and when it did last, None before the first."""

    name: str
    last: tuple[int, datetime] | None


class Witnesses:
    """The witnesses of a site. Made without threads; `start` begins.

    Args:
        settings: which they are, and how many make a quorum.
        reader: reads the log.
        submissions: one for each.
    """

    def __init__(self, settings: Settings, reader: LogQuery, submissions: tuple[Submission, ...]) -> None:
        self._reader = reader
        self._quorum = min(settings.witness_quorum, len(submissions))
        self._submissions = submissions
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def quorum(self) -> int:
        """How many must have cosigned; 0 for a site without witnesses."""
        return self._quorum

    @property
    def keys(self) -> list[str]:
        """Their public keys, as C2SP text."""
        return [str(each.address.key) for each in self._submissions]

    def standing(self) -> list[Standing]:
        """What each cosigned last."""
        return [
            Standing(each.address.key.name, self._reader.cosigned_last(str(each.address.key)))
            for each in self._submissions
        ]

    def start(self) -> None:
        """Begin to ask them."""
        for each in self._submissions:
            thread = threading.Thread(target=self._run, args=(each,), name="witness", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Stop asking; returns when no thread uses the log any more."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait(self, least: int, timeout_s: float) -> int | None:
        """Wait until the quorum has cosigned one checkpoint of `least` records or more.

        Returns:
            The size of the largest such checkpoint; None when time ran out, or there are no witnesses.
        """
        deadline = time.monotonic() + timeout_s
        while self._quorum:
            found = self._reader.largest_cosigned(least, self.keys, self._quorum)
            if found is not None or time.monotonic() > deadline:
                return found
            time.sleep(_WAIT_STEP_S)
        return None

    def _run(self, submission: Submission) -> None:
        pause_s = _LOOK_EVERY_S
        while not self._stopping.wait(pause_s):
            pause_s = (
                _LOOK_EVERY_S if self._attempt(submission.attempt) else min(_LONGEST_PAUSE_S, 2 * pause_s)
            )
        submission.close()

    @staticmethod
    def _attempt(attempt: Callable[[], bool]) -> bool:
        try:
            return attempt()
        except StrongroomError as error:
            _logger.warning("A checkpoint could not be submitted to a witness: %s", error.message)
        except Exception:
            _logger.exception("A checkpoint could not be submitted to a witness.")
        return False


def witnesses_of(settings: Settings, log: LogWriter, reader: LogQuery, findings: Findings) -> Witnesses:
    """The witnesses that the settings name, not asked yet. Those no longer named are no longer missed."""
    named = {f"witness:{each.key.name}" for each in settings.witnesses}
    for finding in findings.all_open():
        if finding.code in {"witness.missing", "witness.stale"} and finding.resource not in named:
            findings.close(finding.code, finding.resource)
    made = (
        Submission(address, float(settings.witness_max_age_s), log, reader, findings)
        for address in settings.witnesses
    )
    return Witnesses(settings, reader, tuple(made))
