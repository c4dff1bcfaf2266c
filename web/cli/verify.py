"""`strongroom verify FILE`: checks what came from a log or a report offline, with nothing but the file and a key."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from policies.errors import ExitCode
from web.cli.failure import BadUsage, CommandFailed, body_of, failed
from web.cli.invocation import current
from web.cli.output import print_facts, print_line, print_table
from web.cli.waiting import progress

_MAX_PAPER_BYTES = 1 << 16


def verify(
    context: typer.Context,
    *,
    path: Annotated[
        Path,
        typer.Argument(
            help="An export or tiles (a folder, or the tar of it), a proof, a checkpoint, or a report's PDF.",
            show_default=False,
        ),
    ],
    trust: Annotated[
        Path | None, typer.Option(help="trust.json: what must be present and signed by whom.")
    ] = None,
    noted: Annotated[
        Path | None,
        typer.Option(help="A checkpoint that you kept: the log must have only grown since."),
    ] = None,
    paper: Annotated[
        str | None,
        typer.Option(
            help="As --noted, from paper: a file with the text of the page's code; - reads standard input."
        ),
    ] = None,
    epochs: Annotated[
        Path | None,
        typer.Option(help="epochs.jsonl of an export: for a proof, where trust.json names an epoch's key."),
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option(help="SHA-256 of the certificate that a report must be signed with.")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Also make every decision in an export again, and compare.")
    ] = False,
) -> None:
    """Verify without the daemon what came from a log; trusts nobody but --trust and --fingerprint."""
    from audit.errors import VerificationFailed  # noqa: PLC0415 - only this command needs them
    from audit.verify import Trust, is_pdf, verify_any  # noqa: PLC0415

    invocation = current(context)
    try:
        believed = None if trust is None else Trust.load(trust)
        if fingerprint is not None:
            if not is_pdf(path):
                raise BadUsage(
                    "--fingerprint is for a report's PDF, and this is none.",
                    "For what came from a log name its verifier key in a trust file.",
                )
            believed = (believed or Trust()).with_report_certificate(fingerprint)
        report = verify_any(path, believed, noted=_kept(noted, paper), epochs=epochs)
    except VerificationFailed as failure:
        body = body_of(failure)
        if not invocation.json:
            print_verdict(failure.report)
        raise CommandFailed(body, dict(failure.report)) from failure
    verdict = report.document()
    if replay:
        verdict = _with_replay(verdict, path)
    if not verdict["holds"]:
        if not invocation.json:
            print_verdict(verdict)
        raise CommandFailed(_refusal(verdict), verdict)
    invocation.show(verdict, lambda: print_verdict(verdict))


def _kept(noted: Path | None, paper: str | None) -> Path | bytes | None:
    """The checkpoint that was kept, in a file or on paper."""
    from audit.verify.paper import scanned_checkpoint  # noqa: PLC0415 - as above

    if paper is None:
        return noted
    if noted is not None:
        raise BadUsage("--noted and --paper exclude each other.", "Give one of them.")
    try:
        with sys.stdin.buffer if paper == "-" else Path(paper).open("rb") as file:
            return scanned_checkpoint(file.read(_MAX_PAPER_BYTES))
    except OSError as error:
        raise BadUsage(f"{paper} cannot be read: {error.strerror}.", "Give the scanned text.") from error


def print_verdict(verdict: Mapping[str, Any]) -> None:
    """Print a verification, check by check."""
    checkpoint, bad = verdict["checkpoint"] or {}, verdict["first_bad"]
    print_facts(
        [
            ("Kind", verdict["kind"]),
            ("Records", verdict["records"]),
            *([("Origin", checkpoint["origin"]), ("Head", checkpoint["root"])] if checkpoint else []),
            *(
                [("First bad record", f"{bad['seq']} ({bad['id'] or 'missing'}): {bad['code']}")]
                if bad
                else []
            ),
        ]
    )
    print_line("")
    print_table(
        ("", "Check", "Detail"),
        (
            ("holds" if check["holds"] else "failed", check["name"], check["detail"])
            for check in verdict["checks"]
        ),
        "Nothing was checked.",
    )


def _with_replay(verdict: dict[str, Any], path: Path) -> dict[str, Any]:
    """Add a replay to the verdict on an export that verifies; in a child process, whose memory is limited."""
    from vault.child_process import run_child  # noqa: PLC0415 - as above

    if verdict["kind"] != "log-export":
        raise failed(
            "usage",
            "Only an export of the log has what decisions are made again from.",
            "Have one made with `strongroom audit export`, or leave out --replay.",
            ExitCode.BAD_INPUT,
        )
    with progress("Making decisions again") as show:
        _, replayed = run_child("audit.replay", [str(path.absolute())], show)
    told = ("decisions", "questions", "bundles", "different", "differences")
    return verdict | {
        "holds": verdict["holds"] and replayed["holds"],
        "first_bad": verdict["first_bad"] or replayed["first_bad"],
        "checks": [*verdict["checks"], *replayed["checks"]],
        "replay": {name: replayed[name] for name in told},
    }


def _refusal(verdict: Mapping[str, Any]) -> dict[str, Any]:
    failing = next(check["detail"] for check in verdict["checks"] if not check["holds"])
    return {
        "code": "verify.failed",
        "message": failing,
        "hint": "Keep the export as it is, and ask where it came from.",
        "exit": ExitCode.INTEGRITY,
        "record": (verdict["first_bad"] or {}).get("id"),
    }
