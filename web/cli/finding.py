"""`strongroom finding …`: what a person must look at; that somebody knows of it; that it is over."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from web.cli.client import part
from web.cli.failure import BadUsage
from web.cli.invocation import current
from web.cli.output import print_facts, print_line, print_table
from web.cli.quantities import write_time

app = typer.Typer(help="What a person must look at.", no_args_is_help=False)

#: A longer text is a wrong file; the daemon says what it takes.
_MAX_BYTES = 100_000

FindingId = Annotated[str, typer.Argument(metavar="ID", help="Id of the finding.", show_default=False)]


class _State(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"
    ALL = "all"


class _Severity(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@app.command("list")
def show_all(
    context: typer.Context,
    *,
    state: Annotated[
        _State | None, typer.Option(help="Only these.", show_default="those that are not closed")
    ] = None,
    severity: Annotated[_Severity | None, typer.Option(help="Only these.", show_default="all")] = None,
) -> None:
    """List findings, newest first."""
    invocation = current(context)
    found = invocation.logged_in().get("/findings", state=state, severity=severity)
    invocation.show(
        found,
        lambda: print_table(
            ("Severity", "Since (UTC)?", "State?", "What…", "What to do…", "Code?", "Id"),
            (
                (
                    finding["severity"],
                    write_time(finding["since"]),
                    finding["state"],
                    finding["sentence"],
                    finding["remedy"],
                    finding["code"],
                    finding["id"],
                )
                for finding in found["items"]
            ),
            "Nothing needs a look.",
        ),
    )


@app.command("show")
def show(context: typer.Context, finding_id: FindingId) -> None:
    """Show a finding and what people said to it."""
    invocation = current(context)
    finding = invocation.logged_in().get(f"/findings/{part(finding_id)}")
    invocation.show(finding, lambda: _print(finding))


@app.command("acknowledge")
def acknowledge(
    context: typer.Context,
    *,
    finding_id: FindingId,
    note: Annotated[str | None, typer.Option(help="What you say to it.", show_default=False)] = None,
    note_file: Annotated[
        str | None, typer.Option(help="File with that; - reads standard input.", show_default=False)
    ] = None,
) -> None:
    """Say that you know of a finding and what is done about it; it stays open."""
    words = _words(note, note_file, "--note")
    invocation = current(context)
    finding = invocation.logged_in().post(f"/findings/{part(finding_id)}/acknowledge", {"note": words})
    invocation.show(finding, lambda: print_line("Noted; it stays open until it is closed."))


@app.command("close")
def close(
    context: typer.Context,
    *,
    finding_id: FindingId,
    reason: Annotated[str | None, typer.Option(help="Why it is over.", show_default=False)] = None,
    reason_file: Annotated[
        str | None, typer.Option(help="File with that; - reads standard input.", show_default=False)
    ] = None,
) -> None:
    """Close a finding; when its cause still stands its check opens it again."""
    words = _words(reason, reason_file, "--reason")
    invocation = current(context)
    finding = invocation.logged_in().post(f"/findings/{part(finding_id)}/close", {"reason": words})
    invocation.show(finding, lambda: print_line("It is closed."))


def _words(given: str | None, file: str | None, option: str) -> str:
    """What a person says, from the command line or a file.

    Raises:
        BadUsage: there is nothing, or both, or no text.
    """
    if (given is None) == (file is None):
        raise BadUsage(
            "Say it once: on the command line or in a file.", f"Give {option} TEXT or {option}-file FILE."
        )
    if given is not None:
        return given
    raw = sys.stdin.buffer.read(_MAX_BYTES + 1) if file == "-" else Path(str(file)).read_bytes()
    if len(raw) > _MAX_BYTES:
        raise BadUsage("That is too long to be a note.", f"Name the right file with {option}-file.")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadUsage("That is not text in UTF-8.", f"Name the right file with {option}-file.") from None


def _print(finding: dict[str, Any]) -> None:
    known, closed = finding["acknowledged"], finding["closed"]
    print_facts(
        [
            ("Finding", finding["id"]),
            ("What", f"{finding['title']} ({finding['code']})"),
            ("Severity", finding["severity"]),
            ("State", finding["state"]),
            ("On", finding["resource"]),
            ("Since", write_time(finding["since"])),
            ("Exactly", finding["sentence"]),
            ("What to do", finding["remedy"]),
            ("Record", finding["record"]),
            (
                "Acknowledged",
                f"{write_time(known['at'])} by account:{known['by']}: {known['note']}" if known else None,
            ),
            ("Closed", _closed(closed) if closed else None),
            ("Closed by hand before", finding["reopens"]),
        ]
    )


def _closed(closed: dict[str, Any]) -> str:
    if closed["by"] is None:
        return f"{write_time(closed['at'])}, by itself: it is no more"
    return f"{write_time(closed['at'])} by account:{closed['by']}: {closed['reason']}"
