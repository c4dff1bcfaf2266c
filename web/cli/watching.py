"""`--watch`: a command that only looks is run again and again, and its page drawn anew, until Ctrl-C.

Invariants: what repeats by itself names its view, so that the log holds one record in five minutes and no session is
kept alive by it; a daemon that is restarted meanwhile is waited for; any other failure ends the watch.
"""

import contextlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Console

from policies.errors import ExitCode
from web.cli.failure import AnswerLost, BadUsage, DaemonUnreachable
from web.cli.invocation import Invocation

DEFAULT_S: Final = 2
_MOST_S: Final = 3600
#: Commands that change nothing and are over at once.
WATCHABLE: Final = frozenset(
    {
        "status", "guest list", "guest show", "image list", "key list", "account list", "token list", "audit list",
        "job list", "job show", "finding list", "report list",
    }
)  # fmt: skip
_HOME, _TO_LINE_END, _TO_PAGE_END = "\x1b[H", "\x1b[K", "\x1b[J"


class _Page(io.StringIO):
    """What a command prints, kept until it is whole; looks like the terminal it is meant for."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def take_option(given: list[str], end: int) -> int | None:
    """Take `--watch [SECONDS]` out of the arguments before `end`; None where it is not among them.

    Raises:
        BadUsage: the seconds are none.
    """
    for nth, word in enumerate(given[:end]):
        name, equals, value = word.partition("=")
        if name != "--watch":
            continue
        del given[nth]
        if not equals and nth < end - 1 and given[nth].isdecimal():
            value = given.pop(nth)
        elif not equals:
            return DEFAULT_S
        if not value.isdecimal() or not 1 <= int(value) <= _MOST_S:
            raise BadUsage(f"--watch takes 1 to {_MOST_S} whole seconds, not {value!r}.", "Try --watch=5.")
        return int(value)
    return None


def check(words: Sequence[str], invocation: Invocation) -> None:
    """Refuse what cannot be watched, before anything is asked.

    Raises:
        BadUsage: `--json`, or a command that does more than look.
    """
    if invocation.json:
        raise BadUsage(
            "--watch and --json exclude each other: --json prints one document.",
            "Repeat the command instead.",
        )
    if words[:1] and words[0] not in WATCHABLE and " ".join(words[:2]) not in WATCHABLE:
        raise BadUsage(
            f"`{' '.join(words[:2])}` cannot be watched.", f"These can: {', '.join(sorted(WATCHABLE))}."
        )


def watch(run: Callable[[], int], every_s: int) -> int:
    """Run a command again and again; returns 0 once somebody pressed Ctrl-C."""
    terminal = sys.stdout.isatty()
    seen = first = None
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            page = _Page(terminal=terminal)
            try:
                with contextlib.redirect_stdout(page):
                    run()
                text = first = page.getvalue()
            except (DaemonUnreachable, AnswerLost) as error:
                if first is None:
                    raise
                text = f"{error.message} Trying again.\n"
            if terminal:
                _draw(text, every_s)
            elif text != seen:
                sys.stdout.write(f"{text}\n" if seen is None else f"\n{text}\n")
                sys.stdout.flush()
            seen = text
            time.sleep(every_s)
    if terminal:
        sys.stdout.write("\n")
    return ExitCode.DONE


def _draw(text: str, every_s: int) -> None:
    """Draw over the page before, line by line, so that nothing flickers."""
    height = Console().height
    lines = text.rstrip("\n").split("\n")
    room = max(1, height - 3)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"… {len(lines) - room + 1} more lines; a higher terminal shows them."]
    at = datetime.now(UTC).strftime("%H:%M:%S")
    lines = [f"Every {every_s} s, last at {at} UTC; Ctrl-C ends.", "", *lines]
    sys.stdout.write(_HOME + "".join(f"{line}{_TO_LINE_END}\n" for line in lines) + _TO_PAGE_END)
    sys.stdout.flush()
