"""`strongroom audit prove | replay | trust`: what an auditor takes away to check without us."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from web.cli.client import part
from web.cli.failure import BadUsage, LocalFailure
from web.cli.invocation import Invocation, current
from web.cli.output import print_json, print_line
from web.cli.verify import print_verdict
from web.cli.waiting import finish, started
from web.instants import parse_instant

_MAX_CHECKPOINT_BYTES = 1 << 18

Out = Annotated[
    Path | None, typer.Option(help="File to write; without it, it is printed.", show_default=False)
]


def prove(
    context: typer.Context,
    record: Annotated[
        str | None, typer.Argument(help="Number or id of the record.", show_default=False)
    ] = None,
    consistent_with: Annotated[
        Path | None,
        typer.Option(
            help="A checkpoint that you kept: prove that the log only grew since.", show_default=False
        ),
    ] = None,
    out: Out = None,
) -> None:
    """Prove that a record is in the log, or that the log only grew: `strongroom verify` checks the file."""
    invocation = current(context)
    if (record is None) == (consistent_with is None):
        raise BadUsage(
            "Say what to prove: a record, or that the log extends a checkpoint.",
            "Give a record's number or id, or --consistent-with CHECKPOINT.",
        )
    _refuse_taken(out)
    client = invocation.logged_in()
    if consistent_with is not None:
        made = client.post("/log/growth-proofs", {"checkpoint": _read_text(consistent_with)})
        said = f"The log of {made['size']} records extends the checkpoint of {made['old_size']}."
    else:
        made = client.get(f"/log/records/{part(str(record))}/proof")
        said = f"Record {made['seq']} is proved in the log of {made['size']} records."
    _hand_out(invocation, made, made["proof"], out, said)


def replay(
    context: typer.Context,
    *,
    since: Annotated[str, typer.Option("--from", help="From this time on.", show_default=False)],
    until: Annotated[str, typer.Option("--to", help="Before this time.", show_default=False)],
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print the job's id and return.")] = False,
) -> None:
    """Make every recorded decision again, from the recorded policies and inputs, and name what differs."""
    invocation = current(context)
    client = invocation.logged_in()
    span = {"since": parse_instant(since), "until": parse_instant(until, end_of_day=True)}
    job = client.post("/log/replay", span)
    if no_wait:
        started(invocation, job)
        return
    verdict = finish(client, job, "Making decisions again")
    invocation.show(verdict, lambda: print_verdict(verdict))


def trust(
    context: typer.Context,
    *,
    epochs: Annotated[
        bool,
        typer.Option(
            "--epochs",
            help="Also demand the key epochs, against a thief of later keys. A lone proof then needs --epochs too.",
        ),
    ] = False,
    witnesses: Annotated[
        bool,
        typer.Option("--witnesses", help="Also demand the quorum of the site's witnesses."),
    ] = False,
    out: Out = None,
) -> None:
    """Print the trust file that `strongroom verify --trust` needs. Hand it over once, by a way of its own."""
    invocation = current(context)
    _refuse_taken(out)
    signed = invocation.logged_in().post("/log/checkpoint")
    document: dict[str, Any] = {"origin": signed["origin"], "log_vkey": signed["vkey"]}
    if epochs:
        document["epoch_vkey"] = signed["epoch_vkey"]
    if witnesses:
        if not signed["witness_vkeys"]:
            raise BadUsage(
                "The site has no witnesses.", "Name them in its settings first, or leave out --witnesses."
            )
        document |= {"witness_vkeys": signed["witness_vkeys"], "quorum": signed["quorum"]}
    if out is None:
        print_json(document)
        return
    _write(out, json.dumps(document) + "\n")
    said = (
        f"Written to {out}. Whoever has it can check every proof; compare the key by telephone or on paper."
    )
    invocation.show({**document, "path": str(out.absolute())}, lambda: print_line(said))


def paper(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="PDF to write.", show_default=False)],
) -> None:
    """Print the log's checkpoint on a page for the site's book: a witness that no intruder rewrites."""
    from audit.report.pdf.paper import paper_page  # noqa: PLC0415 - only this command needs it

    invocation = current(context)
    _refuse_taken(out)
    signed = invocation.logged_in().post("/log/checkpoint")
    page = paper_page(signed["note"].encode(), datetime.now(UTC))
    try:
        out.write_bytes(page)
    except OSError as error:
        raise LocalFailure(f"{out} cannot be written: {error.strerror}.", "Name another file.") from error
    made = {"path": str(out.absolute()), "size": signed["size"], "root": signed["root"]}
    said = f"Written to {out}: {signed['size']} records. Print it, compare the root, and have two people sign it."
    invocation.show(made, lambda: print_line(said))


def _hand_out(invocation: Invocation, made: dict[str, Any], proof: str, out: Path | None, said: str) -> None:
    if out is None:
        invocation.show(made, lambda: print_line(proof.rstrip("\n")))
        return
    _write(out, proof)
    told = {**made, "path": str(out.absolute())}
    invocation.show(told, lambda: print_line(f"{said} Written to {out}."))


def _refuse_taken(out: Path | None) -> None:
    if out is not None and out.exists():
        raise BadUsage(f"{out} exists already.", "Name a new file.")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise LocalFailure(f"{path} cannot be written: {error.strerror}.", "Name another file.") from error


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_CHECKPOINT_BYTES).decode()
    except OSError as error:
        raise BadUsage(
            f"{path} cannot be read: {error.strerror}.", "Give the checkpoint that you kept."
        ) from error
    except UnicodeDecodeError as error:
        raise BadUsage(f"{path} is not a checkpoint.", "Give the file that you kept, unchanged.") from error
