"""The daemon's own log: one JSON object a line, for the people who run the machine.

Invariant: no line holds a secret, a token, a body, an address or a query string. So an exception is told by its type
and where it came from, never by its text (a database error quotes its parameters, a validation error its input), and a
request by its route, never by its path (D3: a name in a path would outlive the person's erasure).
"""

import json
import logging
import mmap
import os
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from gunicorn.glogging import Logger

#: Loggers whose informative lines are wanted; of everybody else's libraries only warnings.
_OURS = ("web", "vault", "audit", "policies", "gunicorn.error")
_FRAMES = 8
#: What each line tells of the request that is being answered: its random id, and the log's record once there is one.
request_facts: ContextVar[dict[str, str] | None] = ContextVar("request_facts", default=None)
_REFUSED_REQUEST = "Invalid request from ip="


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON; `extra={"facts": {...}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        message = record.getMessage()
        if message.startswith(_REFUSED_REQUEST):
            # gunicorn quotes the sender's address and the offending header, which may be a token.
            message = "A request that is no valid HTTP was refused."
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "source": record.name,
            "pid": record.process,
            "message": message,
        }
        line.update(request_facts.get() or {})
        line.update(getattr(record, "facts", {}))
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def describe(error: BaseException) -> list[dict[str, Any]]:
    """Tell of an exception and its causes by type and place, without its text."""
    told: list[dict[str, Any]] = []
    cause: BaseException | None = error
    while cause is not None and len(told) < _FRAMES:
        frames = traceback.extract_tb(cause.__traceback__)[-_FRAMES:]
        told.append(
            {
                "type": f"{type(cause).__module__}.{type(cause).__qualname__}",
                "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            }
        )
        cause = cause.__cause__ or cause.__context__
    return told


class OpeningFilter(logging.Filter):
    """Keeps a foreground terminal quiet until the site is open: a failure then is one sentence, not a page.

    The worker opens the site and the master shows what comes of it, so the state is in memory that both share.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shared = mmap.mmap(-1, 1)

    @property
    def is_open(self) -> bool:
        """Whether everything is let through."""
        return self._shared[0] == 1

    def open(self) -> None:
        """Let everything through from now on, in every process that shares this."""
        self._shared[0] = 1

    def filter(self, record: logging.LogRecord) -> bool:
        """Let errors of ours through, and everything once the site is open."""
        return self.is_open or (record.levelno >= logging.ERROR and not record.name.startswith("gunicorn"))


def set_up_logging(stream: TextIO | None = None, opening: OpeningFilter | None = None) -> None:
    """Send every logger of this process to `stream` (None: standard error) as lines of JSON."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    if opening is not None:
        handler.addFilter(opening)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.INFO)


def send_output_to(path: Path) -> None:
    """Point this process's standard output and error at a log file (0600), also after it was rotated away."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


class ServerLogger(Logger):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's logger, writing through ours. Its access log stays off: the application writes one by route."""

    #: Set by the server where it writes to a file of its own.
    output_file: Path | None = None

    def setup(self, cfg: Any) -> None:  # noqa: ANN401 - gunicorn's own type
        """Take over gunicorn's loggers without handlers of their own."""
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.handlers[:] = []
        self.error_log.propagate = True

    def exception(self, msg: str, *args: object, **kwargs: Any) -> None:  # noqa: ANN401
        """Tell of an exception; a client that fell silent is none."""
        if isinstance(sys.exception(), TimeoutError):
            self.info("A client fell silent in the middle of a request and was let go.")
        else:
            super().exception(msg, *args, **kwargs)

    def reopen_files(self) -> None:
        """Write to the file of that name again, after somebody rotated the old one away (SIGUSR1)."""
        if self.output_file is not None:
            send_output_to(self.output_file)
