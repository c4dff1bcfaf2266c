"""Waiting for long work, with a progress bar on a terminal and plain lines elsewhere; Ctrl-C leaves the job running."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from policies.errors import ExitCode
from web.cli.client import Client, part
from web.cli.failure import AnswerLost, CommandFailed, DaemonUnreachable, failed
from web.cli.invocation import Invocation
from web.cli.output import print_line

_RECONNECTS: Final = 5
_BETWEEN_S: Final = 1.0
#: What takes no longer needs no lines of progress: what is refused at once is then one sentence.
_QUIET_S: Final = 2.0
Show = Callable[[int, str], None]


def finish(client: Client, job: dict[str, Any], what: str) -> dict[str, Any]:
    """Wait for a job and return its result.

    Args:
        job: as the daemon answered when it was started.
        what: what is being done, for the progress bar.

    Raises:
        CommandFailed: the job failed, or somebody pressed Ctrl-C; the job then goes on.
    """
    try:
        with progress(what) as show:
            ended = _follow(client, job, show)
    except KeyboardInterrupt:
        raise failed(
            "interrupted",
            f"No longer waiting; job {job['id']} goes on.",
            f"See how it ends with `strongroom job wait {job['id']}`.",
            ExitCode.UNEXPECTED,
        ) from None
    if ended["state"] != "done":
        raise CommandFailed(ended["error"])
    result: dict[str, Any] = ended["result"] or {}
    return result


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


def _follow(client: Client, job: dict[str, Any], show: Show) -> dict[str, Any]:
    lost = 0
    while True:
        try:
            for seen in client.events(f"/jobs/{part(job['id'])}/events"):
                job = seen
                show(job["percent"], job["sentence"])
            lost = 0
        except (AnswerLost, DaemonUnreachable):
            # The daemon may be on its way back: its jobs are remembered.
            lost += 1
            if lost > _RECONNECTS:
                raise
        if job["state"] != "running":
            return job
        time.sleep(_BETWEEN_S if lost else 0)
