"""The real server around a site of nothing: `python -m tests.unit.web.small_daemon FOLDER PORT HOW`.

HOW: `well`, `damaged` (the site cannot be opened), `broken` (a defect while opening), `dies` (each worker kills itself
once it serves), `impatient` (clients that say nothing are let go after a second).
"""

# ruff: noqa: T201 - what it prints is what the tests read

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from flask import Flask, Response

from policies.errors import ExitCode, StrongroomError
from vault.config import Settings
from vault.errors import IntegrityFailure
from vault.site import Site
from vault.tls import make_certificate
from web import listening
from web.serve import OpeningFailed, serve


class NoSite:
    """What the server does to a site: closes it."""

    def close(self) -> None:
        print("closed", flush=True)


def open_nothing(how: str, stopping: threading.Event) -> tuple[Site, Flask]:
    """Fail as asked, or make an application that tells which process it is in."""
    if how == "damaged":
        raise IntegrityFailure("The log is damaged.", "Restore it.")
    if how == "broken":
        raise RuntimeError("hunter2")
    app = Flask("small")

    def stream() -> Iterator[str]:
        while not stopping.is_set():
            yield "data: on\n\n"
            time.sleep(0.05)

    @app.get("/healthz")
    def health() -> dict[str, Any]:
        return {"pid": os.getpid()}

    @app.get("/stream")
    def events() -> Response:
        return Response(stream(), mimetype="text/event-stream")

    if how == "dies":
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return cast("Site", NoSite()), app


def main(folder: Path, port: int, how: str) -> int:
    """Serve until told to stop; the exit code is the command line's."""
    if how == "impatient":
        listening.STALL_S = 1.0
    settings = replace(Settings(), data_dir=folder, port=port)
    if how != "missing":
        settings.secrets_dir.mkdir(parents=True, exist_ok=True)
        if not (settings.secrets_dir / "tls.crt").exists():
            make_certificate(settings.secrets_dir, "localhost")
    try:
        serve(
            settings,
            lambda _site: print("open", flush=True),
            opener=lambda _settings, stopping: open_nothing(how, stopping),
        )
    except OpeningFailed as failure:
        print(failure.body["message"], file=sys.stderr)
        return int(failure.body["exit"])
    except StrongroomError as error:
        print(error.message, file=sys.stderr)
        return int(error.exit_code)
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
