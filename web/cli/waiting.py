"""Waiting for long work, with a progress bar on a terminal and plain lines elsewhere.

Ctrl-C leaves the job running. A daemon that is restarted is waited for: it takes its jobs up again.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from policies.errors import ExitCode
from web.cli.client import Client, part
from web.cli.failure import AnswerLost, CommandFailed, DaemonUnreachable, failed
from web.cli.invocation import Invocation
from web.cli.output import print_line

#: How long a daemon may be away before nobody waits for it any more.
AWAY_S: Final = 90.0
_BETWEEN_S: Final = 1.0
_ENDED: Final = frozenset({"done", "failed", "cancelled"})
#: What takes no longer needs no lines of progress: what is refused at once is then one sentence.
_QUIET_S: Final = 2.0
Show = Callable[[int, str], None]
T = TypeVar("T")


def finish(client: Client, job: dict[str, Any], what: str) -> dict[str, Any]:
    """Wait for a job and return its result.

    Args:
        job: as the daemon answered when it was started.
        what: what is being done, for the progress bar.

    Raises:
        CommandFailed: the job failed or was cancelled; or somebody pressed Ctrl-C, or the daemon stayed away: the job
            then goes on, and the sentence says how to find it.
    """
    end = ended(client, job, what)
    if end["state"] != "done":
        raise CommandFailed(end["error"])
    result: dict[str, Any] = end["result"] or {}
    return result


def ended(client: Client, job: dict[str, Any], what: str) -> dict[str, Any]:
    """Wait for a job and return it, however it ended.

    Raises:
        CommandFailed: somebody pressed Ctrl-C, or the daemon stayed away.
    """
    try:
        with progress(what) as show:
            return _follow(client, job, show)
    except KeyboardInterrupt:
        raise failed(
            "interrupted",
            f"No longer waiting; job {job['id']} goes on.",
            f"See how it ends with `strongroom job wait {job['id']}`.",
            ExitCode.UNEXPECTED,
        ) from None


def started(invocation: Invocation, job: dict[str, Any]) -> None:
    """Show a job that nobody waits for."""
    invocation.show(
        job,
        lambda: print_line(
            f"Started as job {job['id']}; see how it ends with `strongroom job wait {job['id']}`."
        ),
    )


@contextmanager
def progress(what: str) -> Iterator[Show]:
    """Show progress on standard error while the block runs: a bar on a terminal, else lines once it takes its time."""
    if sys.stderr.isatty():
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[sentence]}", markup=False),
            console=Console(file=sys.stderr),
            transient=True,
        )
        with bar:
            task = bar.add_task(what, total=100, sentence="")
            yield lambda percent, sentence: bar.update(task, completed=percent, sentence=sentence)
        return
    told = ""
    quiet_until = time.monotonic() + _QUIET_S

    def plain(percent: int, sentence: str) -> None:
        nonlocal told
        if sentence != told and time.monotonic() > quiet_until:
            told = sentence
            sys.stderr.write(f"{what}: {percent:3d} % {sentence}\n")
            sys.stderr.flush()

    yield plain


def ask_again(ask: Callable[[], T], show: Show, gone: CommandFailed) -> T:
    """Ask a daemon that may be on its way back, until it answers.

    Args:
        ask: what is asked; asking twice must do no harm.
        show: told that the daemon is waited for.
        gone: raised when it stays away.
    """
    until = None
    while True:
        try:
            return ask()
        except (AnswerLost, DaemonUnreachable) as error:
            now = time.monotonic()
            until = until or now + AWAY_S
            if now >= until:
                raise gone from error
            show(0, f"The daemon does not answer; waiting for it for {until - now:.0f} seconds more.")
            time.sleep(_BETWEEN_S)


def _follow(client: Client, job: dict[str, Any], show: Show) -> dict[str, Any]:
    seen = job
    gone = failed(
        "daemon.unreachable",
        f"The daemon stays away, so nobody waits any longer; job {job['id']} is remembered.",
        f"Once the daemon runs again, see how it ends with `strongroom job wait {job['id']}`.",
        ExitCode.UNEXPECTED,
    )

    def show_on(percent: int, sentence: str) -> None:
        show(max(percent, seen["percent"]), sentence)

    def follow() -> None:
        nonlocal seen
        is_new = True
        try:
            for told in client.events(f"/jobs/{part(job['id'])}/events"):
                seen, is_new = told, False
                show(seen["percent"], _sentence(seen))
        except AnswerLost:
            if is_new:
                raise
            time.sleep(_BETWEEN_S)  # it answered, so the time for which it may be away begins anew

    while seen["state"] not in _ENDED:
        ask_again(follow, show_on, gone)
    return seen


def _sentence(job: dict[str, Any]) -> str:
    counts = job.get("counts")
    counted = f" ({counts['done']} of {counts['total']})" if counts else ""
    return f"{job['sentence'].rstrip('.')}{counted}." if counted else str(job["sentence"])
