"""Runs the daemon: one gunicorn worker with many threads behind TLS (D9).

Invariants:

* exactly one worker, because the log and the gate have one writer; so the signals that would make a second one
  (reload, more workers, re-execution) are refused;
* the site is opened *inside* the worker, after the fork: neither libvirt's connection nor the key process ever crosses
  one;
* a worker that cannot open the site ends the daemon with one sentence and its exit code, instead of being born again;
* a worker that was killed is replaced, comes back sealed, and says so.
"""

import errno
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
from gunicorn.workers.gthread import ThreadWorker

from policies.errors import StrongroomError
from vault.config import Settings
from vault.errors import Conflict, HostFailure, NotFound
from vault.jobs import error_body
from web.daemon_log import OpeningFilter, ServerLogger, send_output_to, set_up_logging
from web.instance_lock import InstanceLock

if TYPE_CHECKING:  # the master never loads libvirt or anything else that must not cross a fork
    from vault.site import Site

THREADS = 64
#: A request or job that runs when the daemon is asked to stop may take this long; recovery settles what was cut off.
STOP_S = 60
_WORKER_STOP_S = 10
#: A client that stops sending or reading in mid-message gives its thread back after this time.
_STALL_S = 30
#: A worker that dies this often in this time is not brought back again.
_DEATHS, _DEATHS_IN_S = 5, 120.0
_COULD_NOT_OPEN = Arbiter.APP_LOAD_ERROR

_log = logging.getLogger("web.serve")


class PortInUse(Conflict):
    """Another program listens where the daemon should."""

    code = "daemon.port_in_use"


class OpeningFailed(Exception):
    """The site could not be opened. `body` is the error as INTERFACES writes it."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body["message"])
        self.body = body


def serve(
    settings: Settings,
    announce: Callable[["Site"], None],
    log_file: Path | None = None,
) -> None:
    """Serve until told to stop (SIGTERM or SIGINT).

    Args:
        settings: of the instance; it must have been initialised.
        announce: called in the worker when the site is open for the first time.
        log_file: where this process's output goes; None leaves it on the terminal.

    Raises:
        NotFound: there is no instance in the data folder.
        DaemonRunning, PortInUse: another process has what this one needs.
        OpeningFailed: the worker could not open the site.
    """
    if not (settings.secrets_dir / "tls.crt").is_file():
        raise NotFound(
            f"There is no instance in {settings.data_dir}.",
            "Make one with `strongroom init`, or name it with --data.",
        )
    lock = InstanceLock.take(settings)
    try:
        listeners = _listen(settings)
        if log_file is not None:
            send_output_to(log_file)
        opening = OpeningFilter()
        if log_file is not None:
            opening.open()
        set_up_logging(opening=opening)
        # A core dump of the daemon could hold what it just handed to QEMU.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _Server(settings, listeners, lock, opening, announce, log_file).run()
    finally:
        lock.release()


def _listen(settings: Settings) -> list[socket.socket]:
    """Bind every address of the host's name, so that `localhost` answers on both families."""
    try:
        found = socket.getaddrinfo(
            settings.host,
            settings.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV,
        )
    except socket.gaierror as error:
        raise HostFailure(
            f"The host name {settings.host!r} is unknown here.",
            "Set `host` to a name or address of this machine.",
        ) from error
    listeners: list[socket.socket] = []
    failure: OSError | None = None
    for family, _, _, _, address in found:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind(address)
            listener.listen(256)
        except OSError as error:
            listener.close()
            failure = error
            if isinstance(error, PermissionError) or error.errno == errno.EADDRINUSE:
                break
        else:
            listeners.append(listener)
    if failure is not None and (not listeners or failure.errno == errno.EADDRINUSE):
        for listener in listeners:
            listener.close()
        raise PortInUse(
            f"Nobody can listen on {settings.host}:{settings.port}: {os.strerror(failure.errno or 0).lower()}.",
            "Stop the program that has the port, or choose another with --port.",
        ) from failure
    return listeners


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
    ) -> None:
        self.settings = settings
        self.opening = opening
        self.log_file = log_file
        self.stopping = threading.Event()
        self._lock = lock
        self._announce = announce
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
            "worker_class": _Worker,
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
            _Arbiter(self).run()
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
        # Imported here so that libvirt and what hangs on it exist in the worker alone.
        from vault.wiring import open_site  # noqa: PLC0415
        from web.app import create_app  # noqa: PLC0415

        try:
            self._site = open_site(self.settings)
            return create_app(self._site, self.stopping)
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

    # -- hooks of gunicorn ---------------------------------------------------------------------

    def _after_fork(self, _arbiter: Any, _worker: Any) -> None:  # noqa: ANN401
        self._lock.leave_to_parent()
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
        if worker.age > 1:
            _log.warning("The worker was replaced, so the key store is sealed: unseal it again.")
        else:
            self._announce(site)

    def _worker_exit(self, _arbiter: Any, _worker: Any) -> None:  # noqa: ANN401
        if os.getpid() != self._master and self._site is not None:
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
            self._tls = tls_context(self.settings)
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


def tls_context(settings: Settings) -> ssl.SSLContext:
    """TLS 1.2 or later with the instance's certificate (HIPAA 164.312(e)(1), PCI 2.2.7)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(settings.secrets_dir / "tls.crt", settings.secrets_dir / "tls.key")
    context.sslsocket_class = _ImpatientSocket
    return context


class _ImpatientSocket(ssl.SSLSocket):
    """A connection that does not wait for ever, so that 64 clients that say nothing cannot take all threads.

    gunicorn asks for blocking sockets, without a time limit; this gives it sockets with one instead.
    """

    def settimeout(self, value: float | None) -> None:
        super().settimeout(_STALL_S if value is None else value)

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - the standard library's own signature
        self.settimeout(None if flag else 0.0)


class _Worker(ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """A worker that tells its open event streams when it is asked to stop."""

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ANN401
        """SIGTERM: end in order."""
        self.app.stopping.set()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:  # noqa: ANN401
        """SIGINT and SIGQUIT: end at once."""
        self.app.stopping.set()
        super().handle_quit(sig, frame)


class _Arbiter(Arbiter):  # type: ignore[misc] # gunicorn has no types
    """An arbiter that never has two workers at once."""

    def handle_hup(self) -> None:
        """A closed terminal ends a daemon in the foreground; one in the background has none."""
        if self.app.log_file is None:
            self.handle_term()
        self._refuse("HUP")

    def handle_ttin(self) -> None:
        """Refuse TTIN."""
        self._refuse("TTIN")

    def handle_ttou(self) -> None:
        """Refuse TTOU."""
        self._refuse("TTOU")

    def handle_usr2(self) -> None:
        """Refuse USR2."""
        self._refuse("USR2")

    def handle_winch(self) -> None:
        """A terminal changed its size; gunicorn would stop its workers."""

    @staticmethod
    def _refuse(name: str) -> None:
        _log.warning("The signal was ignored: one daemon has one worker.", extra={"facts": {"signal": name}})
