"""`strongroom verify FILE`: checks a log export offline, with nothing but the file and a public key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from web.cli.failure import CommandFailed, body_of
from web.cli.invocation import current
from web.cli.output import print_facts, print_line, print_table


def verify(
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(help="A log export: its folder, or the tar of it.", show_default=False)
    ],
    trust: Annotated[
        Path | None, typer.Option(help="trust.json: what must be present and signed by whom.")
    ] = None,
) -> None:
    """Verify a log export without the daemon; trusts nobody but --trust."""
    from audit.errors import VerificationFailed  # noqa: PLC0415 - only this command needs them
    from audit.verify import Trust, verify_export  # noqa: PLC0415

    invocation = current(context)
    try:
        report = verify_export(path, None if trust is None else Trust.load(trust))
    except VerificationFailed as failure:
        body = body_of(failure)
        if not invocation.json:
            print_verdict(failure.report)
        raise CommandFailed(body, dict(failure.report)) from failure
    verdict = report.document()
    invocation.show(verdict, lambda: print_verdict(verdict))


def print_verdict(verdict: Mapping[str, Any]) -> None:
    """Print a verification, check by check."""
    checkpoint, bad = verdict["checkpoint"] or {}, verdict["first_bad"]
    print_facts(
        [
            ("Kind", verdict["kind"]),
            ("Records", verdict["records"]),
            ("Origin", checkpoint.get("origin")),
            ("Head", checkpoint.get("root")),
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
