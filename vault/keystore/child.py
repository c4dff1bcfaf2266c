"""Starts the key process, talks to it, and notices when it is gone.

Nothing secret goes into its arguments or environment; it inherits one socket and nothing else.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import vault
from policies.errors import StrongroomError
from vault.errors import (
    BadInput,
    Conflict,
    DecryptionFailed,
    HostFailure,
    HostUnprotected,
    IntentRefused,
    KeyStoreDamaged,
    KeyStoreMissing,
    KeyUnavailable,
    NotFound,
    Sealed,
    UnsealFailed,
)
from vault.keystore.wire import MAX_SECRET_BYTES, Frame, WireClosedError, WireViolationError, receive, send

#: How long the process may take to start, or to answer: an unseal with Argon2id takes a second on a slow
#: host, and a software-emulated guest may hold the processor for several.
ANSWER_WITHIN_S = 60.0
#: How long the process may take to end once its socket is closed.
END_WITHIN_S = 10.0
MODULE = "vault.keystore.process"

_ERRORS: Mapping[str, type[StrongroomError]] = {
    error.code: error
    for error in (
        BadInput,
        Conflict,
        DecryptionFailed,
        HostFailure,
        HostUnprotected,
        IntentRefused,
        KeyStoreDamaged,
        KeyStoreMissing,
        KeyUnavailable,
        NotFound,
        Sealed,
        UnsealFailed,
    )
}


class KeyProcess:
    """The child and the socket to it. Safe for several threads; requests take turns."""

    def __init__(
        self,
        store_dir: Path,
        log_path: Path,
        *,
        module: str = MODULE,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        """Take what the child is told; `start` starts it.

        Args:
            store_dir: folder of the key store.
            log_path: database of the audit log, which the child reads by itself.
            module: the module to run; tests run one with a log of their own.
            answer_within_s: a child that takes longer to answer is ended.
        """
        self._store_dir = store_dir
        self._log_path = log_path
        self._module = module
        self._answer_within_s = answer_within_s
        self._turn = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        # The kernel ends the child when the *thread* that started it ends (PR_SET_PDEATHSIG), and a request's
        # thread may end any time: so it is started from a thread of its own that lives until `close`.
        self._spawner = ThreadPoolExecutor(1, thread_name_prefix="key-process")

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return self._child.pid if self._child is not None and self._connection is not None else None

    def start(self) -> None:
        """Start the child, sealed, unless it runs.

        Raises:
            StrongroomError: what kept it from starting: no store, loose permissions, memory that cannot be
                locked.
        """
        with self._turn:
            if self._connection is None:
                self._start()

    def close(self) -> None:
        """End the child: it wipes the KEK. Closing twice is harmless."""
        with self._turn:
            self._end()
        self._spawner.shutdown(wait=True)

    def request(self, command: str, secret: bytearray | None = None, **arguments: object) -> Frame:
        """Ask the child for something.

        Args:
            command: its name.
            secret: bytes that travel beside the document; stay the caller's to wipe.
            arguments: JSON values.

        Returns:
            the answer; its secret is the caller's to wipe.

        Raises:
            Sealed: the child is gone, so the KEK is too.
            KeyStoreDamaged: the store is gone or no sound one; the child was ended, so it is sealed too.
            BadInput: the secret is too long to send.
            StrongroomError: what the child answered.
        """
        if secret is not None and len(secret) > MAX_SECRET_BYTES:
            raise BadInput("The secret is too long.", "A passphrase has at most 1,024 bytes.")
        with self._turn:
            if self._connection is None:
                raise _gone()
            try:
                send(self._connection, Frame({"command": command, **arguments}, secret or bytearray()))
                answer = receive(self._connection)
            except (WireClosedError, WireViolationError, OSError) as error:
                # Whatever a late answer would say, nobody waits for it any more: end the child, and with it
                # the KEK.
                self._end()
                raise _gone() from error
            try:
                return _checked(answer)
            except KeyStoreDamaged:
                # Nobody knows what such a store is: the KEK is forgotten, and the next unseal opens it anew.
                self._end()
                raise

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.settimeout(self._answer_within_s)
        try:
            self._child = self._spawner.submit(self._spawn, theirs.fileno()).result()
        except (OSError, subprocess.SubprocessError) as error:
            ours.close()
            raise HostFailure(
                "The key process could not be started.", "Look at the host's memory."
            ) from error
        finally:
            theirs.close()
        self._connection = ours
        try:
            _checked(receive(ours))
        except (WireClosedError, WireViolationError, OSError) as error:
            self._end()
            raise HostFailure(
                "The key process ended while it started.", "The daemon's standard error says why."
            ) from error
        except StrongroomError:
            self._end()
            raise

    def _spawn(self, descriptor: int) -> subprocess.Popen[bytes]:
        arguments = [
            *(sys.executable, "-s", "-B", "-m", self._module),
            *("--store", str(self._store_dir), "--log", str(self._log_path), "--fd", str(descriptor)),
        ]
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            close_fds=True,
            pass_fds=(descriptor,),
            cwd=Path(vault.__file__).resolve().parent.parent,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )

    def _end(self) -> None:
        connection, child = self._connection, self._child
        self._connection = self._child = None
        if connection is not None:
            connection.close()
        if child is None:
            return
        try:
            child.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _checked(answer: Frame) -> Frame:
    error = answer.document.get("error")
    if not isinstance(error, dict):
        return answer
    kind = _ERRORS.get(str(error.get("code")), KeyUnavailable)
    raise kind(str(error.get("message")), str(error.get("hint")))


def _gone() -> Sealed:
    return Sealed(
        "The key process has ended, so the key store is sealed; running guests run on.",
        "Unseal it, which starts the process again: strongroom unseal",
    )
