"""The audit log as the key process reads it: by itself, read-only, record by record.

Opened at the first question, so that the process starts, and says how it is, also while the log is away; a log that
cannot be read covers nothing.
"""

from pathlib import Path

from audit.errors import AuditError, RecordNotFound
from audit.log.query import IntentState, LogQuery
from vault.errors import KeyUnavailable


class LogIntents:
    """Finds intents in the log's database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log: LogQuery | None = None

    def intent_state(self, intent_id: str) -> IntentState | None:
        """The durable intent with this id, None where there is none.

        Raises:
            KeyUnavailable: the log cannot be read, or its record is not what was hashed.
        """
        try:
            if self._log is None:
                self._log = LogQuery(self._path)
            return self._log.intent_state(intent_id)
        except RecordNotFound:
            return None
        except AuditError as error:
            raise KeyUnavailable(
                "The key process cannot read the audit log, so it touches no key.",
                "Mend the log's storage; strongroom audit verify says what is wrong with it.",
            ) from error
