"""`strongroom verify FILE`: checks a log export or a report offline, with nothing but the file and a key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from web.cli.failure import BadUsage, CommandFailed, body_of
from web.cli.invocation import current
from web.cli.output import print_facts, print_line, print_table


def verify(
    context: typer.Context,
    path: Annotated[
        Path,
        typer.Argument(
            help="A log export (its folder, or the tar of it), or a report's PDF.", show_default=False
        ),
    ],
    trust: Annotated[
        Path | None, typer.Option(help="trust.json: what must be present and signed by whom.")
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option(help="SHA-256 of the certificate that a report must be signed with.")
    ] = None,
) -> None:
    """Verify a log export or a report without the daemon; trusts nobody but --trust and --fingerprint."""
    from audit.errors import VerificationFailed  # noqa: PLC0415 - only this command needs them
    from audit.verify import Trust, is_pdf, verify_export, verify_report  # noqa: PLC0415

    invocation = current(context)
    try:
        believed = None if trust is None else Trust.load(trust)
        if fingerprint is not None:
            if not is_pdf(path):
                raise BadUsage(
                    "--fingerprint is for a report's PDF, and this is none.",
                    "For a log export name its verifier key in a trust file.",
                )
            believed = (believed or Trust()).with_report_certificate(fingerprint)
        report = verify_report(path, believed) if is_pdf(path) else verify_export(path, believed)
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
