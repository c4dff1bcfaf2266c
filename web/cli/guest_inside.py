"""`strongroom guest exec` and `guest cp`: work inside a running guest."""

import base64
import sys
from pathlib import Path
from typing import Annotated

import typer

from policies.errors import ExitCode
from web.cli.client import Client, part
from web.cli.failure import BadUsage, CommandFailed, failed
from web.cli.guest import Name
from web.cli.invocation import Invocation, current
from web.cli.output import print_line


def run_in_guest(
    context: typer.Context,
    *,
    name: Name,
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="What to run, after --.", show_default=False)
    ],
    stdin: Annotated[bool, typer.Option("--stdin", help="Pass standard input to the command.")] = False,
    timeout: Annotated[int, typer.Option(help="Seconds the command may take.", min=1, max=3600)] = 60,
) -> None:
    """Run a command in a guest; prints what it prints."""
    invocation = current(context)
    given = sys.stdin.buffer.read() if stdin else b""
    body = {"argv": command, "stdin": base64.b64encode(given).decode(), "timeout_s": timeout}
    ended = invocation.logged_in().post(f"/guests/{part(name)}/exec", body)
    if not invocation.json:
        for stream, printed in ((sys.stdout, ended["stdout"]), (sys.stderr, ended["stderr"])):
            stream.flush()
            stream.buffer.write(
                base64.b64decode(printed) if ended["encoding"] == "base64" else printed.encode()
            )
            stream.buffer.flush()
    elif ended["exit_code"] == 0:
        invocation.show(ended, lambda: None)
    if ended["exit_code"] != 0:
        reason = failed(
            "guest.command_failed",
            f"The command in {name} ended with code {ended['exit_code']}.",
            "What it printed says why.",
            ExitCode.UNEXPECTED,
        )
        raise CommandFailed(reason.body, ended)
    if ended.get("truncated") and not invocation.json:
        sys.stderr.write("The output was longer than what is carried, and is cut.\n")


def copy(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="FILE, - or GUEST:/path.", show_default=False)],
    target: Annotated[str, typer.Argument(help="GUEST:/path, FILE or -.", show_default=False)],
    mode: Annotated[str, typer.Option(help="Rights of a file written in the guest, octal.")] = "600",
) -> None:
    """Copy a file into a guest or out of it; - is standard input or output."""
    invocation = current(context)
    inward, outward = _guest_path(target), _guest_path(source)
    if (inward is None) == (outward is None):
        raise BadUsage("One side must be in a guest (GUEST:/path) and the other not.", "See --help.")
    client = invocation.logged_in()
    if inward is not None:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        copied = client.upload(f"/guests/{part(inward[0])}/files", data, path=inward[1], mode=mode)
        invocation.show(
            copied, lambda: print_line(f"{copied['size_bytes']} bytes written, SHA-256 {copied['sha256']}.")
        )
    elif outward is not None:
        _copy_out(invocation, client, outward, target)


def _copy_out(invocation: Invocation, client: Client, outward: tuple[str, str], target: str) -> None:
    name, path = outward
    if target == "-" and invocation.json:
        raise BadUsage("Standard output cannot hold both the file and the JSON document.", "Name a file.")
    with client.download(f"/guests/{part(name)}/files", path=path) as pieces:
        data = b"".join(pieces)
    if target == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    file = Path(target) / Path(path).name if Path(target).is_dir() else Path(target)
    file.write_bytes(data)
    invocation.show(
        {"path": str(file), "size_bytes": len(data)},
        lambda: print_line(f"{len(data)} bytes written to {file}."),
    )


def _guest_path(written: str) -> tuple[str, str] | None:
    name, colon, path = written.partition(":")
    return (name, path) if colon and path.startswith("/") and name and "/" not in name else None
