"""`strongroom audit …`: read the log, verify it, sign its head, take it away."""

import hashlib
import json
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any

import typer

from audit.log.record import Kind
from policies.errors import ExitCode
from policies.vocabulary import Action, Verdict
from web.cli.client import part
from web.cli.failure import BadUsage, failed
from web.cli.invocation import current
from web.cli.nearest import one_of
from web.cli.output import print_facts, print_line, print_table
from web.cli.quantities import write_time
from web.cli.verify import print_verdict
from web.cli.waiting import finish, started
from web.instants import parse_instant

app = typer.Typer(help="The audit log.", no_args_is_help=False)

NoWait = Annotated[bool, typer.Option("--no-wait", help="Print the job's id and return.")]


@app.command("list")
def show_all(
    context: typer.Context,
    since: Annotated[str | None, typer.Option(help="From this time on.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    kind: Annotated[str | None, typer.Option(help="intent, outcome, access, denied, …")] = None,
    principal: Annotated[str | None, typer.Option(help="Who, as account:ID.")] = None,
    action: Annotated[str | None, typer.Option(help="What, as guest.start.")] = None,
    resource: Annotated[str | None, typer.Option(help="On what, as guest:ID.")] = None,
    decision: Annotated[str | None, typer.Option(help="allow, deny or unmet.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1000)] = 50,
    next_page: Annotated[
        str | None, typer.Option("--next", help="Go on where the page before ended.")
    ] = None,
) -> None:
    """List records, newest first."""
    invocation = current(context)
    one_of(kind, Kind, "kind of record")
    one_of(action, Action, "action")
    one_of(decision, Verdict, "decision")
    found = invocation.logged_in().get(
        "/log/records",
        since=parse_instant(since) if since else None,
        until=parse_instant(until, end_of_day=True) if until else None,
        kind=kind,
        principal=principal,
        action=action,
        resource=resource,
        decision=decision,
        limit=limit,
        next=next_page,
    )

    def people() -> None:
        print_table(
            ("#No.", "Time (UTC)", "Kind", "Action", "Decision", "Result?", "Who?", "On what?"),
            (
                (
                    record["seq"],
                    write_time(record["at"]),
                    record["kind"],
                    record["action"],
                    record["decision"],
                    (record["result"] or {}).get("code"),
                    record["principal"],
                    record["resource"],
                )
                for record in found["items"]
            ),
            "No record fits.",
        )
        if found["next"]:
            print_line(f"There are more: add --next {found['next']}")

    invocation.show(found, people)


@app.command("show")
def show(
    context: typer.Context,
    record: Annotated[str, typer.Argument(help="Number or id of the record.", show_default=False)],
) -> None:
    """Show a record with the policies that decided, what they were given, and how it ended."""
    invocation = current(context)
    found = invocation.logged_in().get(f"/log/records/{part(record)}")
    invocation.show(found, lambda: _print_record(found))


@app.command("verify")
def verify(context: typer.Context, *, no_wait: NoWait = False) -> None:
    """Verify the whole log where it lies."""
    invocation = current(context)
    client = invocation.logged_in()
    job = client.post("/log/verify")
    if no_wait:
        started(invocation, job)
        return
    verdict = finish(client, job, "Verifying the log")
    invocation.show(verdict, lambda: print_verdict(verdict))


@app.command("checkpoint")
def checkpoint(context: typer.Context) -> None:
    """Sign the present head of the log and print the signed note."""
    invocation = current(context)
    signed = invocation.logged_in().post("/log/checkpoint")
    invocation.show(signed, lambda: print_line(signed["note"].rstrip("\n")))


@app.command("export")
def export(
    context: typer.Context,
    *,
    out: Annotated[Path, typer.Option(help="Folder to write; with a name in .tar one file.")],
    tiles: Annotated[
        bool, typer.Option("--tiles", help="As C2SP tlog-tiles, for other log readers.")
    ] = False,
) -> None:
    """Export the log, for verification where nobody is trusted."""
    invocation = current(context)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise BadUsage(f"{out} exists already.", "Name a new folder or file.")
    client = invocation.logged_in()
    made = finish(client, client.post("/log/exports", {"tiles": tiles}), "Exporting the log")
    with tempfile.TemporaryFile() as tar:
        digest = hashlib.sha256()
        with client.download(f"/log/exports/{part(made['id'])}") as pieces:
            for piece in pieces:
                digest.update(piece)
                tar.write(piece)
        if digest.hexdigest() != made["sha256"]:
            raise failed(
                "export.damaged",
                "The export arrived damaged and was not kept.",
                "Export it again.",
                ExitCode.INTEGRITY,
            )
        tar.seek(0)
        if out.suffix == ".tar":
            with out.open("wb") as file:
                shutil.copyfileobj(tar, file)
        else:
            _unpack(tar, out)
    document = {**made, "path": str(out.absolute())}
    invocation.show(
        document, lambda: print_line(f"{made['records']} records written to {out}, SHA-256 {made['sha256']}.")
    )


def _unpack(tar: IO[bytes], folder: Path) -> None:
    """Unpack an export's plain files; whatever else a tar could hold has no place in one."""
    with tarfile.open(fileobj=tar) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                raise failed(
                    "export.damaged",
                    "The export holds what no export has.",
                    "Export it again.",
                    ExitCode.INTEGRITY,
                )
            target = folder / path
            content = archive.extractfile(member)
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file)


def _print_record(record: dict[str, Any]) -> None:
    told_below = {"policies_text", "inputs_document", "outcome", "neighbours"}
    print_facts(
        (name, json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value)
        for name, value in record.items()
        if name not in told_below
    )
    for title, text in (
        ("Policies that decided", "\n\n".join(text for text in record["policies_text"].values() if text)),
        ("What they were given", _indented(record["inputs_document"])),
        ("How it ended", _indented(record["outcome"])),
    ):
        if text:
            print_line(f"\n{title}:\n{text}")


def _indented(document: dict[str, Any] | None) -> str:
    return "" if document is None else json.dumps(document, ensure_ascii=False, indent=2)
