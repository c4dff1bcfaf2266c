"""Runs a witness: one gunicorn worker with a few threads behind TLS, with bounds on what a client can take."""

import socket
import ssl
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication

from vault.errors import HostFailure
from web.daemon_log import ServerLogger, set_up_logging
from web.listening import listen, tls_context
from web.witness.app import WitnessApp
from web.witness.folder import WitnessFolder

_THREADS = 16
_CONNECTIONS = 256
#: A log submits each second or so; keeping its connection saves a handshake each time.
_KEEPALIVE_S = 15
_STOP_S = 10
_MAX_LINE_BYTES = 256
_MAX_HEADERS = 32


def serve_witness(folder: WitnessFolder, host: str, port: int, announce: Callable[[], None]) -> None:
    """Serve until told to stop (SIGTERM or SIGINT).

    Args:
        folder: the witness.
        host, port: where it listens.
        announce: called when it answers.

    Raises:
        PortInUse: another program has the port.
        HostFailure: the host's name is unknown, or the worker could not go on.
    """
    listeners = listen(host, port)
    set_up_logging()
    try:
        _Server(folder, listeners, announce).run()
    except SystemExit as ended:
        if ended.code not in (0, None):
            raise HostFailure("The witness ended because it could not go on.", "Look at its log.") from None


class _Server(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    def __init__(
        self, folder: WitnessFolder, listeners: list[socket.socket], announce: Callable[[], None]
    ) -> None:
        self._folder = folder
        self._listeners = listeners
        self._announce = announce
        self._tls: ssl.SSLContext | None = None
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn its settings."""
        chosen: dict[str, object] = {
            "bind": [f"fd://{listener.detach()}" for listener in self._listeners],
            "workers": 1,
            "threads": _THREADS,
            "worker_class": "gthread",
            "worker_connections": _CONNECTIONS,
            "logger_class": ServerLogger,
            "timeout": 60,
            "graceful_timeout": _STOP_S,
            "keepalive": _KEEPALIVE_S,
            "limit_request_line": _MAX_LINE_BYTES,
            "limit_request_fields": _MAX_HEADERS,
            "control_socket_disable": True,
            "forwarded_allow_ips": "",
            "certfile": str(self._folder.certificate),
            "keyfile": str(self._folder.path / "tls.key"),
            "ssl_context": self._ssl_context,
            "proc_name": "strongroom-witness",
            "post_worker_init": lambda _worker: self._announce(),
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> WitnessApp:
        """Make the application: called in the worker."""
        return WitnessApp(self._folder.store, self._folder.key)

    def _ssl_context(self, _config: Any, _default: Any) -> ssl.SSLContext:  # noqa: ANN401
        if self._tls is None:
            self._tls = tls_context(self._folder.path)
        return self._tls
