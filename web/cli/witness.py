"""`strongroom witness`: a witness for the logs of other machines. It needs no daemon and no site."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audit.errors import NoteInvalid
from web.cli.failure import BadUsage
from web.cli.invocation import Invocation, current
from web.cli.output import print_facts, print_line, print_table

if TYPE_CHECKING:
    from web.witness.folder import WitnessFolder

# `web.witness` is imported where it is used: other commands need none of it.

app = typer.Typer(
    name="witness", help="Watch the logs of other machines: cosign that they only grow.", no_args_is_help=True
)


@app.command("init")
def init(
    context: typer.Context,
    name: Annotated[
        str, typer.Option(help="What it signs as, such as witness.example/w1.", show_default=False)
    ],
    host: Annotated[
        str, typer.Option(help="Name or address that it listens on, for its certificate.")
    ] = "localhost",
) -> None:
    """Make a witness in the folder that --data names."""
    from web.witness.folder import WitnessFolder  # noqa: PLC0415

    invocation = current(context)
    folder = WitnessFolder.create(_data(invocation), name, host)
    made = {
        "data_dir": str(folder.path),
        "vkey": folder.key.vkey,
        "certificate": str(folder.certificate),
    }

    def people() -> None:
        print_facts(
            [
                ("Data folder", made["data_dir"]),
                ("Public key", made["vkey"]),
                ("Certificate", made["certificate"]),
            ]
        )
        print_line("\nGive the public key to auditors, and key and certificate to the logs' administrators.")
        print_line("Go on with `strongroom witness trust`, then `strongroom witness serve`.")

    invocation.show(made, people)


@app.command("trust")
def trust(
    context: typer.Context,
    vkey: Annotated[
        str,
        typer.Argument(
            help="The log's public key, as `strongroom init` and `strongroom audit trust` print it.",
            show_default=False,
        ),
    ],
) -> None:
    """Watch a log from now on. A witness that serves meanwhile sees it at once."""
    from audit.log.note import VerifierKey  # noqa: PLC0415

    invocation = current(context)
    try:
        key = VerifierKey.parse(vkey)
    except NoteInvalid as error:
        raise BadUsage(f"This is no log's key. {error.message}", "Copy it whole: name+id+base64.") from error
    new = _open(invocation).store.trust(key)
    said = f"The log {key.name} is watched{'' if new else ' already'}."
    invocation.show({"origin": key.name, "vkey": vkey, "new": new}, lambda: print_line(said))


@app.command("show")
def show(context: typer.Context) -> None:
    """Show the witness's key, and what it cosigned last of each log."""
    invocation = current(context)
    folder = _open(invocation)
    logs = folder.store.logs()
    document = {
        "vkey": folder.key.vkey,
        "certificate": str(folder.certificate),
        "logs": [
            {
                "origin": log.origin,
                "vkeys": [str(key) for key in log.keys],
                "size": log.size,
                "checkpoint": None if log.note is None else log.note.decode(),
                "contradictions": log.contradictions,
            }
            for log in logs
        ],
    }

    def people() -> None:
        print_facts([("Public key", folder.key.vkey), ("Certificate", folder.certificate)])
        print_line("")
        print_table(
            ("Log", "Records cosigned", "Contradictions"),
            ((log.origin, "none" if log.size is None else log.size, log.contradictions) for log in logs),
            "No log is watched. Add one with `strongroom witness trust`.",
        )

    invocation.show(document, people)


@app.command("serve")
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Name or address to listen on.")] = "localhost",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8444,
) -> None:
    """Answer logs until it is stopped."""
    from web.witness.server import serve_witness  # noqa: PLC0415

    invocation = current(context)
    folder = _open(invocation)
    url = f"https://{f'[{host}]' if ':' in host else host}:{port}"

    def announce() -> None:
        invocation.show(
            {"url": url, "vkey": folder.key.vkey}, lambda: print_line(f"The witness answers at {url}.")
        )

    serve_witness(folder, host, port, announce)


def _data(invocation: Invocation) -> Path:
    if invocation.data is None:
        raise BadUsage(
            "Say where the witness lives: --data DIR.", "It has a folder of its own, apart from any site's."
        )
    return invocation.data.absolute()


def _open(invocation: Invocation) -> "WitnessFolder":
    from web.witness.folder import WitnessFolder  # noqa: PLC0415

    return WitnessFolder.open(_data(invocation))
