"""`strongroom serve`: the daemon in the foreground, in the background, and its end."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from policies.errors import ExitCode
from vault.config import Settings
from vault.errors import HostFailure
from web.cli.failure import BadUsage, CommandFailed, body_of, failed
from web.cli.invocation import Invocation, current
from web.cli.output import print_json, print_line
from web.instance_lock import refuse_if_running, running_pid

if TYPE_CHECKING:
    from vault.site import Site

# `web.serve` is imported where it is used: with it comes everything that acts, and other commands need none of it.

LOG_FILE: Final = "daemon.log"
_LOOK_EVERY_S: Final = 0.1
#: Opening checks the log and may boot a probe guest.
_OPENING_S: Final = 600.0
#: Longer than `web.serve.STOP_S`, after which the daemon ends in any case.
_STOPPING_S: Final = 70.0


def run_daemon(
    context: typer.Context,
    *,
    background: Annotated[
        bool,
        typer.Option(
            "--background", help="Return once it answers; it writes to daemon.log in the data folder."
        ),
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the daemon of this instance.")] = False,
    host: Annotated[
        str | None, typer.Option(help="Name or address to listen on.", show_default="localhost")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="8443")] = None,
) -> None:
    """Run the daemon, the only program that acts; everything else asks it."""
    invocation = current(context)
    if background and stop:
        raise BadUsage("--background and --stop exclude each other.", "Give one of them.")
    invocation.flags.update(host=host, port=str(port) if port is not None else None)
    if stop:
        _stop(invocation)
    elif background:
        _background(invocation)
    else:
        _foreground(invocation)


def _foreground(invocation: Invocation) -> None:
    from web.serve import OpeningFailed, serve  # noqa: PLC0415

    settings = invocation.settings

    def announce(site: "Site") -> None:
        document = {"url": settings.url, "pid": os.getppid(), "data_dir": str(settings.data_dir)}
        sealed = site.keys.status().sealed
        if invocation.json:
            print_json({**document, "sealed": sealed})
        else:
            print_line(
                f"Strongroom answers at {settings.url}{_seal_hint(sealed=sealed)} Stop it with Ctrl-C."
            )
            sys.stdout.flush()

    try:
        serve(settings, announce)
    except OpeningFailed as failure:
        raise CommandFailed(failure.body) from failure


def _background(invocation: Invocation) -> None:
    settings = invocation.settings
    log_file = settings.data_dir / LOG_FILE
    refuse_if_running(settings)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _serve_detached(settings, log_file, write_end)
    os.close(write_end)
    document = _wait_until_it_answers(invocation, child, read_end)
    invocation.show(
        document,
        lambda: print_line(f"Strongroom answers at {document['url']}{_seal_hint(sealed=document['sealed'])}"),
    )


def _serve_detached(settings: Settings, log_file: Path, told: int) -> None:
    """Serve in this forked process until it is stopped; never returns."""
    from web.serve import OpeningFailed, serve  # noqa: PLC0415

    code = ExitCode.DONE
    parent = os.getpid()
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        serve(settings, lambda _site: None, log_file)
    except BaseException as error:  # noqa: BLE001 - the end of a process: whatever it was is told to the parent
        if os.getpid() == parent:
            body = error.body if isinstance(error, OpeningFailed) else body_of(error)
            code = ExitCode(body["exit"])
            os.write(told, json.dumps(body).encode())
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _wait_until_it_answers(invocation: Invocation, child: int, told: int) -> dict[str, Any]:
    settings = invocation.settings
    until = time.monotonic() + _OPENING_S
    with invocation.client() as client:
        while time.monotonic() < until:
            ended, _ = os.waitpid(child, os.WNOHANG)
            if ended == child:
                written = os.read(told, 65536)
                if written:
                    raise CommandFailed(json.loads(written))
                raise HostFailure(
                    "The daemon ended as soon as it began.", f"See {settings.data_dir / LOG_FILE}."
                )
            # Whoever else answers there, only the daemon that holds the lock is ours.
            if running_pid(settings) == child and client.answers():
                status = client.get("/status")
                return {
                    "url": settings.url,
                    "pid": child,
                    "data_dir": str(settings.data_dir),
                    "sealed": status["sealed"],
                    "log": str(settings.data_dir / LOG_FILE),
                }
            time.sleep(_LOOK_EVERY_S)
    raise HostFailure(
        f"The daemon did not answer within {_OPENING_S:.0f} seconds; it still tries.",
        f"See {settings.data_dir / LOG_FILE}.",
    )


def _stop(invocation: Invocation) -> None:
    settings = invocation.settings
    pid = running_pid(settings)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + _STOPPING_S
        while running_pid(settings) is not None:
            if time.monotonic() > until:
                raise failed(
                    "daemon.not_stopped",
                    f"The daemon (pid {pid}) did not stop in time.",
                    f"See {settings.data_dir / LOG_FILE}.",
                    ExitCode.HOST_FAILURE,
                )
            time.sleep(_LOOK_EVERY_S)
    said = "The daemon is stopped." if pid is not None else "No daemon was running."
    invocation.show({"stopped": pid is not None, "pid": pid}, lambda: print_line(said))


def _seal_hint(*, sealed: bool) -> str:
    return "; it is sealed: open it with `strongroom unseal`." if sealed else "."
