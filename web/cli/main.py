"""The command `strongroom`: joins the commands, and ends every run as DESIGN section 4 says.

Whatever happens, with `--json` one JSON document goes to standard output; an error's sentence goes to standard error;
and the exit code is one of the table.
"""

import os
import re
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from typer.exceptions import TyperException
from typer.main import get_command

from policies.errors import ExitCode
from web.cli import (
    account,
    audit,
    audit_proofs,
    completion,
    doctor,
    finding,
    guest,
    guest_inside,
    image,
    job,
    key,
    policy,
    report,
    session,
    settings,
    site,
    status,
    units,
    verify,
    witness,
)
from web.cli.completion_names import names
from web.cli.daemon import run_daemon
from web.cli.failure import BadUsage, CommandFailed, body_of
from web.cli.invocation import Invocation
from web.cli.nearest import nearest, usage_sentence
from web.cli.output import print_error, print_json
from web.cli.watching import check, take_option, watch

app = typer.Typer(
    name="strongroom",
    help="Encrypted virtual machines behind one audited gate.",
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

#: typer turns Ctrl-C into this exit code, which the table of DESIGN does not have.
_TYPERS_INTERRUPT: Final = 130

_UNKNOWN_NAME: Final = re.compile(r"There is no (account|image) '([^']*)'")

#: Options that may stand anywhere before `--`, and whether a value follows.
_ANYWHERE: Final = {
    "--json": False,
    "--url": True,
    "--data": True,
    "--ca-file": True,
    "--config": True,
    "--as": True,
}


@app.callback()
def _options(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    url: Annotated[
        str | None, typer.Option(help="Address of the daemon.", show_default="from the settings")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The instance's data folder.", show_default="main")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Certificate of the daemon.", show_default="the instance's own")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings file.", show_default="in the data folder")
    ] = None,
    profile: Annotated[
        str, typer.Option("--as", help="Whose log-in to use, when there are several.")
    ] = "default",
    _watch: Annotated[
        str | None,
        typer.Option(
            "--watch",
            metavar="[SECONDS]",
            help="Look again every so many seconds, until Ctrl-C: status, lists, guest show, job show.",
            show_default="2",
        ),
    ] = None,
) -> None:
    """These options may also stand after the command."""
    invocation = context.find_root().obj
    if not isinstance(invocation, Invocation):
        raise TypeError(type(invocation))
    invocation.json = as_json
    invocation.url, invocation.data, invocation.ca_file = url, data, ca_file
    invocation.config, invocation.profile = config, profile


def _show_version(context: typer.Context) -> None:
    """Print the version."""
    invocation = context.find_root().obj
    invocation.show(
        {"version": version("strongroom")}, lambda: sys.stdout.write(f"{version('strongroom')}\n")
    )


for _name, _command in (
    ("init", site.init),
    ("serve", run_daemon),
    ("status", status.status),
    ("unseal", site.unseal),
    ("seal", site.seal),
    ("doctor", doctor.doctor),
    ("login", session.log_in),
    ("logout", session.log_out),
    ("whoami", session.whoami),
    ("verify", verify.verify),
    ("settings", settings.show_settings),
    ("units", units.write_units),
    ("version", _show_version),
):
    app.command(_name)(_command)
guest.app.command("exec")(guest_inside.run_in_guest)
guest.app.command("cp")(guest_inside.copy)
audit.app.command("prove")(audit_proofs.prove)
audit.app.command("replay")(audit_proofs.replay)
audit.app.command("trust")(audit_proofs.trust)
audit.app.command("paper")(audit_proofs.paper)
for _name, _group in (
    ("guest", guest.app),
    ("image", image.app),
    ("key", key.app),
    ("audit", audit.app),
    ("account", account.accounts),
    ("token", account.tokens),
    ("policy", policy.app),
    ("report", report.app),
    ("job", job.app),
    ("finding", finding.app),
    ("witness", witness.app),
    ("completion", completion.app),
):
    app.add_typer(_group, name=_name)


def run(arguments: Sequence[str] | None = None, transport: httpx.BaseTransport | None = None) -> None:
    """Run one command and end the process with its exit code.

    Args:
        arguments: without the program's name; None takes the process's.
        transport: how requests travel to the daemon; None is HTTPS.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    invocation = Invocation(transport=transport, json="--json" in given[: _end_of_options(given)])
    try:
        code = _run(given, invocation)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the end of a process: everything ends as the contract says
        if os.environ.get("STRONGROOM_TRACEBACK"):
            traceback.print_exc()
        code = _end_with(error, invocation)
    sys.exit(code)


def _run(given: list[str], invocation: Invocation) -> int:
    try:
        invocation.watch_s = take_option(given, _end_of_options(given))
        words = _options_first(given)
        if invocation.watch_s is not None:
            check(_command_words(words), invocation)
            return watch(lambda: _run_once(words, invocation), invocation.watch_s)
        ended = _run_once(words, invocation)
        sys.stdout.flush()
    except TyperException as error:
        raise BadUsage(*_usage(error)) from None
    except (typer.Abort, EOFError):
        raise KeyboardInterrupt from None
    except BrokenPipeError:
        # Whoever read our output has enough (`strongroom audit list | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    return ended


def _run_once(words: list[str], invocation: Invocation) -> int:
    ended = get_command(app).main(
        args=words or ["--help"], prog_name="strongroom", standalone_mode=False, obj=invocation
    )
    if ended == _TYPERS_INTERRUPT:
        raise KeyboardInterrupt
    return ended if isinstance(ended, int) else ExitCode.DONE


def _command_words(words: list[str]) -> list[str]:
    """The command, without the options that were moved before it."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        name, equals, _ = rest.pop(0).partition("=")
        if _ANYWHERE.get(name) and not equals and rest:
            rest.pop(0)
    return rest


def _end_with(error: BaseException, invocation: Invocation) -> int:
    body = _with_the_name_that_was_meant(body_of(error), invocation)
    if invocation.json:
        document = error.document if isinstance(error, CommandFailed) else None
        print_json(document if document is not None else {"error": body})
    print_error(" ".join(part for part in (body["message"], body["hint"]) if part))
    return int(body["exit"])


def _with_the_name_that_was_meant(body: dict[str, Any], invocation: Invocation) -> dict[str, Any]:
    """Add "Did you mean …?" where an account is not known: only whoever may list accounts is told their names."""
    unknown = _UNKNOWN_NAME.match(body["message"])
    if body["exit"] != ExitCode.NOT_FOUND or unknown is None:
        return body
    near = nearest(unknown[2], names(invocation, unknown[1]))
    return {**body, "hint": f"Did you mean {near!r}?"} if near else body


def _usage(error: TyperException) -> tuple[str, str]:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "strongroom"
    sentence = usage_sentence(error).rstrip(".")
    if not sentence.endswith("?"):
        sentence += "."
    return sentence[:1].upper() + sentence[1:], f"See `{command} --help`."


def _end_of_options(given: Sequence[str]) -> int:
    return given.index("--") if "--" in given else len(given)


def _options_first(given: list[str]) -> list[str]:
    """Move the options that may stand anywhere to the front, where the parser looks for them."""
    end = _end_of_options(given)
    first: list[str] = []
    rest: list[str] = []
    words = iter(given[:end])
    for word in words:
        name, equals, _ = word.partition("=")
        if name not in _ANYWHERE or (equals and not _ANYWHERE[name]):
            rest.append(word)
            continue
        first.append(word)
        if _ANYWHERE[name] and not equals:
            first.extend(value for value in [next(words, None)] if value is not None)
    return [*first, *rest, *given[end:]]
