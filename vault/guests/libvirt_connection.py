"""The connection to libvirt, and its errors in our words.

The event loop runs in one thread; the connection is opened when needed, and again when libvirt restarted.
Nothing above knows libvirt's codes.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType

import libvirt

from vault.errors import Conflict, HostFailure, KeyUnavailable, NotFound, VaultError
from vault.guests.agent import AgentError, AgentRefused

logger = logging.getLogger(__name__)

_loop_guard = threading.Lock()
_loop_started = False

_KEEPALIVE_INTERVAL_S = 5
_KEEPALIVE_COUNT = 3
_RECONNECT_PAUSE_S = 2.0
_CLOSE_TIMEOUT_S = 10
_GONE = frozenset(
    {
        libvirt.VIR_ERR_SYSTEM_ERROR,
        libvirt.VIR_ERR_INTERNAL_ERROR,
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_NO_CONNECT,
    }
)
_GONE_WORDS = ("connect", "end of file", "Cannot recv", "keepalive", "client socket is closed")

Prepare = Callable[["libvirt.virConnect"], None]


def start_event_loop() -> None:
    """Register libvirt's event loop, before the first connection, and run it in one thread for ever."""
    global _loop_started  # noqa: PLW0603 - libvirt's loop is one for the process
    with _loop_guard:
        if _loop_started:
            return
        # libvirt prints every error to standard error otherwise, beside raising it.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run_loop, name="libvirt-events", daemon=True).start()
        _loop_started = True


def _run_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


class LibvirtConnection:
    """One connection, shared by threads."""

    def __init__(self, uri: str, reconnect_pause_s: float = _RECONNECT_PAUSE_S) -> None:
        """Connect to `uri` when first needed.

        Args:
            uri: of the hypervisor.
            reconnect_pause_s: how long to wait between two tries while somebody watches events.
        """
        self._uri = uri
        self._pause_s = reconnect_pause_s
        self._guard = threading.Lock()
        self._connection: libvirt.virConnect | None = None
        self._on_connect: list[Prepare] = []
        self._changed = threading.Event()
        self._closing = False
        self._keeper: threading.Thread | None = None

    def get(self) -> "libvirt.virConnect":
        """The open connection.

        Raises:
            HostFailure: libvirt does not answer.
        """
        start_event_loop()
        with self._guard:
            if self._connection is not None:
                if _lives(self._connection):
                    return self._connection
                self._drop()
            try:
                connection = libvirt.open(self._uri)
                self._connection = connection
                connection.setKeepAlive(_KEEPALIVE_INTERVAL_S, _KEEPALIVE_COUNT)
                connection.registerCloseCallback(self._on_close, None)
                for prepare in self._on_connect:
                    prepare(connection)
            except libvirt.libvirtError as error:
                self._drop()
                logger.warning("libvirt does not answer at %s: %s", self._uri, error)
                raise HostFailure(
                    f"libvirt does not answer at {self._uri}.",
                    "Start it (systemctl start libvirtd; libvirtd -d where no systemd runs), then try again.",
                ) from error
            return connection

    def on_connect(self, prepare: Prepare) -> None:
        """Call `prepare` on this and every later connection, and connect again by itself from now on."""
        connection = self.get()
        with translated("watch the hypervisor"):
            prepare(connection)
        with self._guard:
            self._on_connect.append(prepare)
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep, name="libvirt-keeper", daemon=True)
                self._keeper.start()

    def close(self) -> None:
        """Disconnect, and connect no more by itself."""
        self._closing = True
        self._changed.set()
        if self._keeper is not None:
            self._keeper.join(timeout=_CLOSE_TIMEOUT_S)
        with self._guard:
            self._drop()

    def _on_close(self, _connection: "libvirt.virConnect", _reason: int, _data: object) -> None:
        self._changed.set()

    def _keep(self) -> None:
        """Events are lost while nobody is connected: connect as soon as libvirt is back."""
        while not self._closing:
            self._changed.wait()
            self._changed.clear()
            while not self._closing:
                try:
                    self.get()
                    break
                except HostFailure:
                    self._changed.wait(self._pause_s)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(libvirt.libvirtError):  # it is gone either way
                connection.close()


def _lives(connection: "libvirt.virConnect") -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn libvirt's errors into ours.

    Args:
        doing: what was tried, as in "libvirt could not start the guest".
    """
    try:
        yield
    except libvirt.libvirtError as error:
        translation = _translation(error, doing)
        expected = not isinstance(translation, HostFailure) or isinstance(translation, AgentError)
        logger.log(logging.DEBUG if expected else logging.WARNING, "libvirt could not %s: %s", doing, error)
        raise translation from error


class GoneIsFine(AbstractContextManager[None, bool]):
    """Lets pass that a domain ended meanwhile."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool:
        """Swallow libvirt's word that the domain is gone, and nothing else."""
        return isinstance(error, libvirt.libvirtError) and error.get_error_code() in {
            libvirt.VIR_ERR_NO_DOMAIN,
            libvirt.VIR_ERR_OPERATION_INVALID,
        }


def _translation(error: "libvirt.libvirtError", doing: str) -> VaultError:  # noqa: PLR0911 - one for each kind
    code, text = error.get_error_code(), " ".join(str(error).split())
    if code == libvirt.VIR_ERR_NO_DOMAIN:
        return NotFound("The guest does not run.", "Start it first.")
    if code in {libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_AGENT_UNSYNCED}:
        return AgentError(
            "The guest's agent does not answer.", "Wait until the guest has started, then try again."
        )
    if "QEMU agent command" in text or "guest agent command" in text:
        # The rest of the sentence was written inside the guest: it is not repeated.
        return AgentRefused("The guest's agent refused the command.", "Look at the guest.")
    if code == libvirt.VIR_ERR_OPERATION_INVALID:
        return Conflict(
            f"libvirt could not {doing}: the guest is not in a state for it.", "Look at its state."
        )
    if "agent response" in text or "encode message payload" in text:
        return AgentError(
            "The guest's agent gave too long an answer.", "Restart the guest if it stays silent."
        )
    if "Invalid password" in text:
        return KeyUnavailable(
            "The key in the key store does not open the disk.",
            "The disk was exchanged or its header changed; look at the findings.",
        )
    if code in _GONE and any(word in text for word in _GONE_WORDS):
        return HostFailure(
            f"libvirt went away while it was to {doing}.", "Start it again; what was half done is settled."
        )
    return HostFailure(f"libvirt could not {doing}: {text[:300]}", "Look at the guest and at the host's log.")
