"""`strongroom doctor`: what is there, what is missing, what mends it, and with `--fix` the mending."""

import os
import stat
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer

from policies.errors import ExitCode, StrongroomError
from web import vendored
from web.cli.failure import CommandFailed, DaemonUnreachable, NotLoggedIn, failed
from web.cli.invocation import Invocation, current
from web.cli.output import print_line, print_table
from web.instance_lock import running_pid

_OTHERS: Final = 0o077


def doctor(
    context: typer.Context,
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be mended (as root, on this machine).")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --fix: do not ask before what is not harmless in every case.")
    ] = False,
    host_only: Annotated[
        bool, typer.Option("--host-only", help="Look at this machine alone, not at the daemon.")
    ] = False,
    only: Annotated[
        str | None, typer.Option(help="Look at one thing alone: memory, files, certificate, …")
    ] = None,
) -> None:
    """Show what was found, what is missing, and the command that mends it."""
    invocation = current(context)
    here = fix or host_only or only is not None
    found = _look_here(invocation, fix=fix, yes=yes, only=only) if here else _ask_or_look(invocation)
    if only is None:
        ours = _of_the_command_line(invocation, with_daemon=not host_only)
        found = found | {"items": [*found["items"], *ours]}
    wrong = [item for item in found["items"] if not item["ok"]]

    def people() -> None:
        for sentence in found.get("done", []):
            print_line(sentence)
        print_table(
            ("", "What", "Found…", "What mends it…"),
            ((_level(item), item["name"], item["sentence"], item["remedy"]) for item in found["items"]),
            "Nothing was looked at.",
        )

    if not wrong:
        invocation.show(found, people)
        return
    if not invocation.json:
        people()
    names = ", ".join(sorted({item["name"] for item in wrong}))
    reason = failed(
        "host.not_ready",
        f"{len(wrong)} of {len(found['items'])} things need mending: {names}.",
        "Do what the list says, or run `strongroom doctor --fix` as root.",
        ExitCode.HOST_FAILURE,
    )
    raise CommandFailed(reason.body, found)


def _level(item: dict[str, Any]) -> str:
    return str(item.get("level", "ok" if item["ok"] else "missing"))


def _ask_or_look(invocation: Invocation) -> dict[str, Any]:
    try:
        return invocation.logged_in().get("/host/inspection")
    except (DaemonUnreachable, NotLoggedIn):
        return _look_here(invocation, fix=False, yes=False, only=None)


def _look_here(invocation: Invocation, *, fix: bool, yes: bool, only: str | None) -> dict[str, Any]:
    from vault.operations import host  # noqa: PLC0415 - loads libvirt

    settings = invocation.settings

    def agree(question: str) -> bool:
        if yes or invocation.json or not sys.stdin.isatty():
            return yes
        return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}

    found = host.inspect_host(
        settings, fix=fix, only=only, daemon_runs=running_pid(settings) is not None, agree=agree
    )
    pages = [vendored.inspect()] if only is None else []
    return found | {"items": [*found["items"], *pages]}


def _of_the_command_line(invocation: Invocation, *, with_daemon: bool) -> Iterator[dict[str, Any]]:
    """What only this side can see: its own file of log-ins, and whether the daemon is of the same version."""
    path = invocation.credentials.path
    if path.exists() and stat.S_IMODE(path.stat().st_mode) & _OTHERS and path.stat().st_uid == os.geteuid():
        yield _item("credentials", f"Others can read your log-ins in {path}.", f"chmod 600 {path}")
    if not with_daemon:
        return
    try:
        theirs = invocation.client().get("/status")["version"]
    except (StrongroomError, CommandFailed, KeyError):
        return  # whoever runs the doctor before there is a daemon is not told again that there is none
    if theirs != version("strongroom"):
        yield _item(
            "version",
            f"The daemon is of version {theirs}, this command of {version('strongroom')}.",
            "Restart the daemon after an upgrade: strongroom serve --stop, then serve --background.",
        )


def _item(name: str, sentence: str, remedy: str) -> dict[str, Any]:
    return {"name": name, "ok": False, "level": "missing", "sentence": sentence, "remedy": remedy}
