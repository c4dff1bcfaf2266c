"""Finds a port of this host that nobody listens on."""

import socket


def free_port() -> int:
    """A TCP port on the loopback that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
