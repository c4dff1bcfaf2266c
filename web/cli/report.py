"""`strongroom report …`: evidence reports on a period, fetched to this machine."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from web.cli.client import part
from web.cli.failure import BadUsage
from web.cli.invocation import current
from web.cli.output import print_line, print_table
from web.cli.quantities import write_time
from web.cli.waiting import finish
from web.instants import parse_instant

app = typer.Typer(help="Evidence reports.", no_args_is_help=False)


class _Framework(StrEnum):
    HIPAA = "hipaa"
    PCI = "pci"


Since = Annotated[str, typer.Option("--from", help="Begin of the period, as 2026-01-01.")]
Until = Annotated[str, typer.Option("--to", help="End of the period; a day is included whole.")]
Out = Annotated[Path, typer.Option(help="Folder for all of its files, or one file, as hipaa.pdf.")]


@app.command("hipaa")
def hipaa(context: typer.Context, since: Since, until: Until, out: Out = Path()) -> None:
    """Report on the HIPAA Security Rule."""
    _make(context, _Framework.HIPAA, since, until, out)


@app.command("pci")
def pci(context: typer.Context, since: Since, until: Until, out: Out = Path()) -> None:
    """Report on PCI DSS v4.0.1."""
    _make(context, _Framework.PCI, since, until, out)


@app.command("list")
def show_all(context: typer.Context) -> None:
    """List the reports that were made."""
    invocation = current(context)
    found = invocation.logged_in().get("/reports")
    invocation.show(
        found,
        lambda: print_table(
            ("Id", "Framework", "From", "To", "Made?", "Files…"),
            (
                (
                    report["id"],
                    report["framework"],
                    write_time(report["from"]),
                    write_time(report["to"]),
                    write_time(report["created_at"]),
                    [file["name"] for file in report["files"]],
                )
                for report in found["items"]
            ),
            "No report was made yet.",
        ),
    )


def _make(context: typer.Context, framework: _Framework, since: str, until: str, out: Path) -> None:
    invocation = current(context)
    begin, end = parse_instant(since), parse_instant(until, end_of_day=True)
    if begin >= end:
        raise BadUsage("The period ends before it begins.", "Give --from an earlier time than --to.")
    client = invocation.logged_in()
    job = client.post("/reports", {"framework": framework.value, "since": begin, "until": end})
    report = finish(client, job, f"Reporting on {framework.value}")
    written = []
    for name, target in _targets(report, out):
        target.parent.mkdir(parents=True, exist_ok=True)
        with client.download(f"/reports/{part(report['id'])}/files/{part(name)}") as pieces:
            target.write_bytes(b"".join(pieces))
        written.append(str(target.absolute()))
    document: dict[str, Any] = {**report, "written": written}
    invocation.show(document, lambda: print_line("\n".join([*_sentence_of(report), *written])))


def _targets(report: dict[str, Any], out: Path) -> list[tuple[str, Path]]:
    """Which of the report's files go where: all into a folder, or the one of that kind to a file."""
    names = [str(file["name"]) for file in report["files"]]
    if not out.suffix or out.is_dir():
        return [(name, out / Path(name).name) for name in names]
    fitting = [name for name in names if Path(name).suffix == out.suffix]
    if not fitting:
        raise BadUsage(f"The report has no file in {out.suffix}.", f"It has {', '.join(names)}.")
    return [(fitting[0], out)]


def _sentence_of(report: dict[str, Any]) -> list[str]:
    return [report["sentence"]] if report.get("sentence") else []
