"""Where and how the daemon and a witness listen: addresses, TLS, and how long a client may say nothing."""

import errno
import os
import socket
import ssl
from pathlib import Path

from vault.errors import Conflict, HostFailure

#: A client that stops sending or reading in mid-message gives its thread back after this time.
STALL_S = 30.0


class PortInUse(Conflict):
    """Another program listens where the daemon should."""

    code = "daemon.port_in_use"


def listen(host: str, port: int) -> list[socket.socket]:
    """Bind every address of the host's name, so that `localhost` answers on both families.

    Raises:
        PortInUse: nobody can listen there.
        HostFailure: the name is unknown.
    """
    try:
        found = socket.getaddrinfo(
            host,
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV,
        )
    except socket.gaierror as error:
        raise HostFailure(
            f"The host name {host!r} is unknown here.",
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
            f"Nobody can listen on {host}:{port}: {os.strerror(failure.errno or 0).lower()}.",
            "Stop the program that has the port, or choose another with --port.",
        ) from failure
    return listeners


def tls_context(folder: Path) -> ssl.SSLContext:
    """TLS 1.2 or later with `tls.crt` and `tls.key` of this folder (HIPAA 164.312(e)(1), PCI 2.2.7)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.sslsocket_class = _ImpatientSocket
    return context


class _ImpatientSocket(ssl.SSLSocket):
    """A connection that does not wait for ever, so that 64 clients that say nothing cannot take all threads.

    gunicorn asks for blocking sockets, without a time limit; this gives it sockets with one instead.
    """

    def settimeout(self, value: float | None) -> None:
        super().settimeout(STALL_S if value is None else value)

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - the standard library's own signature
        self.settimeout(None if flag else 0.0)
