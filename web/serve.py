"""Runs the daemon: one gunicorn worker with many threads behind TLS (D9).

Invariants:

* exactly one worker, because the log and the gate have one writer; so the signals that would make a second one
  (reload, more workers, re-execution) are refused;
* the site is opened *inside* the worker, after the fork: neither libvirt's connection nor the key process ever crosses
  one;
* a worker that cannot open the site ends the daemon with one sentence and its exit code, instead of being born again;
* a worker that was killed is replaced, comes back sealed, and says so.
"""

import json
import logging
import os
import resource
import socket
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from policies.errors import StrongroomError
from vault.config import Settings
from vault.errors import HostFailure, NotFound
from vault.jobs import error_body
from web.daemon_log import OpeningFilter, ServerLogger, send_output_to, set_up_logging
from web.instance_lock import InstanceLock
from web.listening import listen, tls_context
from web.one_worker import OneArbiter, OneWorker
from web.readiness import Readiness

if TYPE_CHECKING:  # the master never loads libvirt or anything else that must not cross a fork
    from vault.site import Site

#: Opens the site and makes its application; gets the settings and what is set when the daemon is to stop.
Opener = Callable[[Settings, threading.Event], "tuple[Site, Flask]"]
THREADS = 64
#: A request or job that runs when the daemon is asked to stop may take this long; recovery settles what was cut off.
STOP_S = 60
_WORKER_STOP_S = 10
#: Seconds after which a running Python thread lets others run.
_SWITCH_INTERVAL_S = 0.0005
#: A worker that dies this often in this time is not brought back again.
_DEATHS, _DEATHS_IN_S = 5, 120.0
_COULD_NOT_OPEN = Arbiter.APP_LOAD_ERROR

_log = logging.getLogger("web.serve")


class OpeningFailed(Exception):
    """The site could not be opened. `body` is the error as INTERFACES writes it."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body["message"])
        self.body = body


def open_application(settings: Settings, stopping: threading.Event) -> "tuple[Site, Flask]":
    """Open the site and make its application."""
    # Imported here so that libvirt and what hangs on it exist in the worker alone.
    from vault.wiring import open_site  # noqa: PLC0415
    from web.app import create_app  # noqa: PLC0415

    site = open_site(settings)
    return site, create_app(site, stopping)


def serve(
    settings: Settings,
    announce: Callable[["Site"], None],
    log_file: Path | None = None,
    opener: Opener = open_application,
) -> None:
    """Serve until told to stop (SIGTERM or SIGINT).

    Args:
        settings: of the instance; it must have been initialised.
        announce: called in the worker when the site is open for the first time.
        log_file: where this process's output goes; None leaves it on the terminal.
        opener: opens the site and makes its application, in the worker.

    Raises:
        NotFound: there is no instance in the data folder.
        DaemonRunning, PortInUse: another process has what this one needs.
        OpeningFailed: the worker could not open the site.
    """
    _require_certificate(settings)
    # Secrets are made with their own rights; what guests' users must reach would be closed to them by a tighter one.
    os.umask(0o022)
    lock = InstanceLock.take(settings)
    try:
        listeners = listen(settings.host, settings.port)
        if log_file is not None:
            send_output_to(log_file)
        opening = OpeningFilter()
        if log_file is not None:
            opening.open()
        set_up_logging(opening=opening)
        # A core dump of the daemon could hold what it just handed to QEMU.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _Server(settings, listeners, lock, opening, announce, log_file, opener).run()
    finally:
        lock.release()


def _require_certificate(settings: Settings) -> None:
    """Tell a site that was never made from one that lost a file."""
    missing = [path for name in ("tls.crt", "tls.key") if not (path := settings.secrets_dir / name).is_file()]
    if missing and settings.log_db.is_file():
        raise HostFailure(f"The daemon's {missing[0]} is missing.", "Restore it from its backup.")
    if missing:
        raise NotFound(
            f"There is no instance in {settings.data_dir}.",
            "Make one with `strongroom init`, or name it with --data.",
        )


class _Server(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's application object: settings in, the Flask application out, made in the worker."""

    def __init__(
        self,
        settings: Settings,
        listeners: list[socket.socket],
        lock: InstanceLock,
        opening: OpeningFilter,
        announce: Callable[["Site"], None],
        log_file: Path | None,
        opener: Opener,
    ) -> None:
        self.settings = settings
        self.opening = opening
        self.log_file = log_file
        self.stopping = threading.Event()
        self._readiness = Readiness.take_from(os.environ)
        self._lock = lock
        self._announce = announce
        self._opener = opener
        self._listeners = listeners
        self._site: Site | None = None
        self._told_read, self._told_write = os.pipe()
        os.set_blocking(self._told_read, False)
        self._master = os.getpid()
        self._deaths: deque[float] = deque()
        self._tls: ssl.SSLContext | None = None
        ServerLogger.output_file = log_file
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn its settings."""
        secrets = self.settings.secrets_dir
        chosen: dict[str, object] = {
            "bind": [f"fd://{listener.detach()}" for listener in self._listeners],
            "workers": 1,
            "threads": THREADS,
            "worker_class": OneWorker,
            "logger_class": ServerLogger,
            # The arbiter must not shoot a worker that is opening a large log or busy with a long stream.
            "timeout": 0,
            "graceful_timeout": STOP_S,
            "keepalive": 15,
            "preload_app": False,
            "control_socket_disable": True,
            "forwarded_allow_ips": "",
            "certfile": str(secrets / "tls.crt"),
            "keyfile": str(secrets / "tls.key"),
            "ssl_context": self._ssl_context,
            "proc_name": f"strongroom-{self.settings.instance}",
            "post_fork": self._after_fork,
            "post_worker_init": self._worker_ready,
            "worker_exit": self._worker_exit,
            "child_exit": self._child_died,
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def run(self) -> None:
        """Run gunicorn; in the master, turn its exit into a return or an `OpeningFailed`."""
        try:
            OneArbiter(self).run()
        except SystemExit as ended:
            if os.getpid() != self._master:
                # The worker leaves here: threads of clients that never let go must not hold it back.
                for stream in (sys.stdout, sys.stderr):
                    stream.flush()
                os._exit(ended.code if isinstance(ended.code, int) else 1)
            told = self._told()
            if told is not None:
                raise OpeningFailed(told) from None
            if ended.code not in (0, None):
                raise HostFailure(
                    "The daemon ended because its worker could not go on.", "Look at its log."
                ) from None

    def load(self) -> Flask:
        """Open the site and make the application: called in the worker only."""
        try:
            self._site, application = self._opener(self.settings, self.stopping)
        except StrongroomError as error:
            self._tell(error_body(error))
            raise SystemExit(_COULD_NOT_OPEN) from error
        except OSError as error:
            what = error.filename if error.filename is not None else "A part of the site"
            failure = HostFailure(
                f"{what} cannot be used: {(error.strerror or 'it failed').lower()}.",
                "Restore it, or mend its rights.",
            )
            self._tell(error_body(failure))
            raise SystemExit(_COULD_NOT_OPEN) from error
        except Exception as error:
            _log.exception("The site could not be opened.")
            self._tell(
                error_body(
                    StrongroomError("The site could not be opened.", "The daemon's log has the detail.")
                )
            )
            raise SystemExit(_COULD_NOT_OPEN) from error
        return application

    # -- hooks of gunicorn ---------------------------------------------------------------------

    def _after_fork(self, _arbiter: Any, _worker: Any) -> None:  # noqa: ANN401
        self._lock.leave_to_parent()
        # Beside one busy thread an append to the log waits for Python's lock: 5.6 ms with the default, 1.1 ms so.
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        # So that the site still has time to close within the arbiter's patience.
        self.cfg.set("graceful_timeout", _WORKER_STOP_S)

    def _worker_ready(self, worker: Any) -> None:  # noqa: ANN401
        self.opening.open()
        site = self._site
        if site is None:
            raise SystemExit(_COULD_NOT_OPEN)
        facts = {
            "url": self.settings.url,
            "instance": self.settings.instance,
            "data_dir": str(self.settings.data_dir),
        }
        _log.info("The site is open.", extra={"facts": facts})
        self._readiness.ready(f"Open at {self.settings.url}.")
        self._readiness.keep_alive(lambda: _stands(site), self.stopping)
        if worker.age > 1:
            _log.warning("The worker was replaced, so the key store is sealed: unseal it again.")
        else:
            self._announce(site)

    def _worker_exit(self, _arbiter: Any, _worker: Any) -> None:  # noqa: ANN401
        if os.getpid() != self._master and self._site is not None:
            self._readiness.stopping()
            self._site.close()
            _log.info("The site is closed.")

    def _child_died(self, arbiter: Any, worker: Any) -> None:  # noqa: ANN401
        now = time.monotonic()
        self._deaths.append(now)
        while now - self._deaths[0] > _DEATHS_IN_S:
            self._deaths.popleft()
        _log.info("The worker ended.", extra={"facts": {"worker": worker.pid}})
        if len(self._deaths) >= _DEATHS:
            _log.error("The worker ended too often; the daemon stops.")
            arbiter.halt(reason="worker ended too often", exit_status=1)

    def _ssl_context(self, _config: Any, _default: Any) -> ssl.SSLContext:  # noqa: ANN401
        # gunicorn asks for every connection; reading the key once is enough.
        if self._tls is None:
            self._tls = tls_context(self.settings.secrets_dir)
        return self._tls

    # -- what the worker tells the master ------------------------------------------------------

    def _tell(self, body: dict[str, Any]) -> None:
        os.write(self._told_write, json.dumps(body).encode() + b"\n")

    def _told(self) -> dict[str, Any] | None:
        try:
            lines = os.read(self._told_read, 65536).splitlines()
        except BlockingIOError:
            return None
        body: dict[str, Any] = json.loads(lines[-1])
        return body


def _stands(site: "Site") -> str:
    """One sentence for `systemctl status`: it asks log and key process, so a daemon that hangs says nothing."""
    try:
        sealed = "sealed" if site.keys.status().sealed else "unsealed"
    except StrongroomError:
        sealed = "key process silent"
    gate = "stopped" if site.gate.stopped_by else "acting"
    return f"Key store {sealed}, gate {gate}, {site.log.head().size} records."
