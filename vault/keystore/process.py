"""The key process: `python -m vault.keystore.process --store DIR --log LOGDB --fd N`.

A child of the daemon that shares no memory with HTTP parsing (decision D8). It starts sealed, answers one
request at a time on the socket it inherited, and when that socket ends, for whatever reason, it wipes the KEK
and exits. A
message that is no message ends it too: whoever sends one is not our daemon.
"""

import argparse
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from policies.errors import StrongroomError
from policies.vocabulary import EntityRef
from vault.clock import HostClock
from vault.errors import BadInput
from vault.keystore.custody import KeyCustody
from vault.keystore.envelope import wipe
from vault.keystore.keys import KeyPurpose
from vault.keystore.locked_memory import is_dumpable, protect_process
from vault.keystore.seals.passphrase import PassphraseSeal
from vault.keystore.seals.seal import Seal
from vault.keystore.store import KeyStoreFile
from vault.keystore.warrant import IntentSource, Warrants
from vault.keystore.wire import Frame, WireClosedError, WireViolationError, receive, send

UNEXPECTED = "unexpected"


class KeyServer:
    """Answers requests with what a custody does."""

    def __init__(self, custody: KeyCustody) -> None:
        self._custody = custody
        self._commands: Mapping[str, Callable[[Mapping[str, Any], bytearray], Frame]] = {
            "status": self._status,
            "seal": self._seal,
            "unseal": self._unseal,
            "create_key": self._create_key,
            "unwrap_key": self._unwrap_key,
            "destroy_key": self._destroy_key,
            "wrap_person_key": self._wrap_person_key,
            "unwrap_person_key": self._unwrap_person_key,
            "list_keys": self._list_keys,
            "show_key": self._show_key,
        }

    def serve(self, connection: socket.socket) -> None:
        """Answer until the other side is gone; then the KEK is wiped.

        Raises:
            WireViolationError: what came was no message; the KEK is wiped.
        """
        try:
            while True:
                request = receive(connection)
                answer = self._answer(request)
                try:
                    send(connection, answer)
                finally:
                    wipe(answer.secret)
        except WireClosedError:
            return
        finally:
            self._custody.close()

    def _answer(self, request: Frame) -> Frame:
        try:
            command = self._commands.get(str(request.document.get("command")))
            if command is None:
                raise BadInput("The key process knows no such command.")
            return command(request.document, request.secret)
        except StrongroomError as error:
            return error_frame(error.code, error.message, error.hint)
        except Exception as error:  # noqa: BLE001 - the edge of the process: reported, answered
            _report(error)
            return error_frame(UNEXPECTED, "The key process failed unexpectedly.", "")
        finally:
            wipe(request.secret)

    def _status(self, _request: Mapping[str, Any], _secret: bytearray) -> Frame:
        return Frame({"ok": asdict(self._custody.status(os.getpid())) | {"dumpable": is_dumpable()}})

    def _seal(self, _request: Mapping[str, Any], _secret: bytearray) -> Frame:
        self._custody.seal()
        return Frame({"ok": None})

    def _unseal(self, request: Mapping[str, Any], secret: bytearray) -> Frame:
        self._custody.unseal(request.get("intent"), _text(request, "seal"), secret)
        return Frame({"ok": None})

    def _create_key(self, request: Mapping[str, Any], _secret: bytearray) -> Frame:
        purpose = _purpose(request)
        info = self._custody.create_key(request.get("intent"), _entity(request, "owner"), purpose)
        return Frame({"ok": info.to_document()})

    def _unwrap_key(self, request: Mapping[str, Any], _secret: bytearray) -> Frame:
        return Frame({"ok": None}, self._custody.unwrap_key(request.get("intent"), _text(request, "key")))

    def _destroy_key(self, request: Mapping[str, Any], _secret: bytearray) -> Frame:
        info = self._custody.destroy_key(request.get("intent"), _text(request, "key"))
        return Frame({"ok": info.to_document()})

    def _wrap_person_key(self, request: Mapping[str, Any], secret: bytearray) -> Frame:
        info = self._custody.wrap_person_key(request.get("intent"), _entity(request, "owner"), secret)
        return Frame({"ok": info.to_document()})

    def _unwrap_person_key(self, request: Mapping[str, Any], _secret: bytearray) -> Frame:
        key = self._custody.unwrap_person_key(request.get("intent"), _entity(request, "owner"))
        return Frame({"ok": None}, key)

    def _list_keys(self, request: Mapping[str, Any], _secret: bytearray) -> Frame:
        owner = _entity(request, "owner") if request.get("owner") is not None else None
        version = request.get("after_version", 0)
        if not isinstance(version, int):
            raise BadInput("A page of keys begins after a whole number.")
        keys = self._custody.keys(owner, (_text(request, "after_id"), version))
        return Frame({"ok": [info.to_document() for info in keys]})

    def _show_key(self, request: Mapping[str, Any], _secret: bytearray) -> Frame:
        return Frame({"ok": self._custody.key(_text(request, "key")).to_document()})


def error_frame(code: str, message: str, hint: str) -> Frame:
    """An error as it travels: public words only."""
    return Frame({"error": {"code": code, "message": message, "hint": hint}})


def run(arguments: Sequence[str], open_intents: Callable[[Path], IntentSource]) -> int:
    """Protect this process, open the store, serve until the daemon is gone.

    Args:
        arguments: `--store DIR --log FILE --fd N`; nothing secret.
        open_intents: opens the log read-only.

    Returns:
        the exit code.
    """
    parser = argparse.ArgumentParser(
        prog="vault.keystore.process", description="Holds the keys of Strongroom."
    )
    parser.add_argument("--store", type=Path, required=True, help="folder of the key store")
    parser.add_argument("--log", type=Path, required=True, help="the audit log's database")
    parser.add_argument("--fd", type=int, required=True, help="number of the inherited socket")
    options = parser.parse_args(arguments)
    # The terminal's Ctrl-C is the daemon's business; it ends us by closing the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    os.umask(0o077)
    connection = socket.socket(fileno=options.fd)
    try:
        protect_process()
        seals: Mapping[str, Seal] = {seal.kind: seal for seal in (PassphraseSeal(),)}
        warrants = Warrants(open_intents(options.log), HostClock())
        server = KeyServer(KeyCustody(KeyStoreFile(options.store), seals, warrants))
    except StrongroomError as error:
        send(connection, error_frame(error.code, error.message, error.hint))
        return int(error.exit_code)
    send(connection, Frame({"ok": "ready"}))
    try:
        server.serve(connection)
    except WireViolationError as error:
        sys.stderr.write(f"key process: {error}; sealed and ended\n")
        return 1
    return 0


def main() -> int:
    """Run with the real audit log."""
    from vault.keystore.log_intents import LogIntents  # noqa: PLC0415 - only the real process reads the real log

    return run(sys.argv[1:], LogIntents)


def _exit_on_signal(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)  # unwinds through `serve`, which wipes the KEK


def _text(request: Mapping[str, Any], name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str):
        raise BadInput(f"A request to the key process lacks {name}.")
    return value


def _entity(request: Mapping[str, Any], name: str) -> EntityRef:
    try:
        return EntityRef.parse(_text(request, name))
    except ValueError as error:
        raise BadInput(f"A request to the key process has no usable {name}.") from error


def _purpose(request: Mapping[str, Any]) -> KeyPurpose:
    try:
        return KeyPurpose(_text(request, "purpose"))
    except ValueError as error:
        raise BadInput("A request to the key process has no usable purpose.") from error


def _report(error: BaseException) -> None:
    """Say where something unexpected happened: type and lines of code, never the message with its values."""
    where = "".join(traceback.format_tb(error.__traceback__))
    sys.stderr.write(f"key process: unexpected {type(error).__name__}\n{where}")


if __name__ == "__main__":
    sys.exit(main())
