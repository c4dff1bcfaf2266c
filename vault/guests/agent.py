"""Speaks with the guest agent (QEMU Guest Agent Protocol).

What it answers comes from inside the guest: hostile input, limited in size, time and shape, and never
repeated in an error's sentence.
"""

import base64
import contextlib
import json
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from vault.errors import BadInput, HostFailure, NotFound
from vault.guests.ports import ExecResult

logger = logging.getLogger(__name__)

#: Sends one command (JSON text, seconds) and returns the answer (JSON text).
Send = Callable[[str, int], str]

#: Of each output: libvirt passes on at most 4 MiB a message, which base64 makes 3 MiB for both together.
MAX_OUTPUT_BYTES = 1024 * 1024
MAX_FILE_BYTES = 256 * 2**20
MAX_STDIN_BYTES = 8 * 2**20
_READ_CHUNK_BYTES = 1024 * 1024
#: Measured: a command of 85 kB reaches the agent, one of 340 kB silences it for good. As base64, 64 KiB.
_WRITE_CHUNK_BYTES = 48 * 1024
#: Where input too long for one command waits for it: memory, in every Linux guest.
_INPUT_FOLDER = "/run"
_MAX_ANSWER_CHARACTERS = 8 * 2**20
_COMMAND_TIMEOUT_S = 20
_PING_TIMEOUT_S = 2
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 1.0
_SIGNAL_BASE = 128
_SIGKILL = 9
#: Bounds the outputs and the time inside the guest: when more than 10 MiB come in one answer libvirt gives the
#: agent up until the guest is started again. Standard error takes a pipe of its own; the command's exit code
#: goes round both by descriptor 5.
_BOUNDED = (
    'exec 3>&1 4>&2; n=$1 t=$2; shift 2; c=$({ { { timeout -s KILL "$t" "$@" 3>&- 4>&- 5>&-; echo $? >&5; }'
    ' | head -c "$n" >&3; } 2>&1 | head -c "$n" >&4; } 5>&1); exit "$c"'
)
#: Takes standard input from a file that has no name any more once the command runs.
_FROM_FILE = 'exec <"$1" || exit 125; rm -f "$1"; shift; '
#: How much later than the guest we give up, so that its answer about the end still comes.
_SLACK_S = 5.0
_MAX_STATUS = 255


class AgentError(HostFailure):
    """The guest agent does not answer, or gave an answer that is none."""

    code = "guest.agent_error"


class AgentRefused(AgentError):
    """The guest agent answered that it could not; why was written inside the guest and is not repeated."""

    code = "guest.agent_refused"


class GuestAgent:
    """One guest's agent."""

    def __init__(
        self,
        send: Send,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Speak through `send`; waiting is done by `sleep` and measured by `monotonic`, both in seconds."""
        self._send = send
        self._sleep = sleep
        self._monotonic = monotonic

    def ping(self, timeout_s: int = _PING_TIMEOUT_S) -> None:
        """Return when the agent answers.

        Raises:
            AgentError: it does not.
        """
        self._ask("guest-ping", {}, timeout_s)

    def wait_ready(self, timeout_s: float) -> float:
        """Wait until the agent answers; returns the seconds that took.

        Raises:
            AgentError: it did not within the time.
            NotFound: the guest ended meanwhile.
        """
        began, pause = self._monotonic(), _FIRST_PAUSE_S
        while True:
            try:
                self.ping()
            except AgentError as error:
                if self._monotonic() - began > timeout_s:
                    raise AgentError(
                        f"The guest's agent did not answer within {timeout_s:.0f} s.",
                        "Look at the guest's console: strongroom guest console.",
                    ) from error
            else:
                return self._monotonic() - began
            self._sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S / 4)

    def shut_down(self, timeout_s: int) -> None:
        """Ask the guest to power off.

        Raises:
            AgentError: no answer, which is also what an agent gives that does as it is told.
        """
        self._ask("guest-shutdown", {"mode": "powerdown"}, timeout_s)

    def execute(
        self,
        argv: Sequence[str],
        stdin: bytes,
        timeout_s: float,
        output_limit_bytes: int = MAX_OUTPUT_BYTES,
    ) -> ExecResult:
        """Run a program and wait for its end.

        Args:
            argv: program with its full path, and its arguments; no shell reads them.
            stdin: what it gets on standard input, at most 8 MiB.
            timeout_s: how long to wait for its end; then it is killed.
            output_limit_bytes: of each output; the rest is left out.

        Returns:
            its exit code (127: there is no such program) and outputs.

        Raises:
            BadInput: no program, or too much input.
            AgentError: it did not end in time, or the agent failed.
        """
        if not argv or not argv[0]:
            raise BadInput("No command was given.", "Name a program with its full path, such as /bin/uname.")
        if len(stdin) > MAX_STDIN_BYTES:
            raise BadInput(
                f"A command can be given {MAX_STDIN_BYTES // 2**20} MiB of input.",
                "Copy a file into the guest instead.",
            )
        limit_s = max(1, math.ceil(timeout_s))
        bounds = [str(output_limit_bytes + 1), str(limit_s)]
        if len(stdin) > _WRITE_CHUNK_BYTES:
            waiting = f"{_INPUT_FOLDER}/strongroom-{secrets.token_hex(8)}"
            self.write_file(waiting, stdin, 0o600)
            arguments = _shell(_FROM_FILE + _BOUNDED, waiting, *bounds, *argv)
        else:
            arguments = _shell(_BOUNDED, *bounds, *argv)
            arguments["input-data"] = base64.b64encode(stdin).decode()
        began, pause = self._monotonic(), _FIRST_PAUSE_S
        process = _integer(self._ask("guest-exec", arguments), "pid")
        while True:
            status = self._ask("guest-exec-status", {"pid": process})
            waited = self._monotonic() - began
            result = _exec_result(status, output_limit_bytes) if status.get("exited") is True else None
            killed = result is not None and result.exit_code == _SIGNAL_BASE + _SIGKILL
            if waited > limit_s + _SLACK_S or (killed and waited >= limit_s):
                raise AgentError(
                    f"The command did not end within {limit_s} s, and was killed.",
                    "Give it more time with --timeout.",
                )
            if result is not None:
                return result
            self._sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    def write_file(self, path: str, data: bytes, mode: int) -> None:
        """Write a file; it appears whole under its name, or not at all.

        The agent makes files that everyone can read, so the mode is set before the first byte is written.

        Raises:
            BadInput: the path is none, or the data is too long.
            NotFound: the folder does not exist, or is read-only.
            AgentError: the agent failed; nothing is left under the name.
        """
        _require_path(path)
        if len(data) > MAX_FILE_BYTES:
            raise BadInput(f"At most {MAX_FILE_BYTES // 2**20} MiB can be copied into a guest at once.")
        part = f"{path}.{secrets.token_hex(8)}.part"
        try:
            with self._opened(part, "w") as handle:
                self._must("/bin/chmod", f"{mode:o}", part)
                for at in range(0, len(data), _WRITE_CHUNK_BYTES):
                    chunk = data[at : at + _WRITE_CHUNK_BYTES]
                    written = self._ask(
                        "guest-file-write", {"handle": handle, "buf-b64": base64.b64encode(chunk).decode()}
                    )
                    if _integer(written, "count") != len(chunk):
                        raise AgentError(
                            "The guest took only part of the file.", "Look whether its disk is full."
                        )
                self._ask("guest-file-flush", {"handle": handle})
            self._must("/bin/mv", "-f", "-T", part, path)
        except AgentError:
            with _logged("remove a file that was not written whole"):
                self.execute(["/bin/rm", "-f", part], b"", _COMMAND_TIMEOUT_S)
            raise

    def read_file(self, path: str, limit_bytes: int) -> bytes:
        """Read a file of at most `limit_bytes`.

        Raises:
            NotFound: there is no such file.
            BadInput: it is larger, or the path is none.
        """
        _require_path(path)
        found = bytearray()
        with self._opened(path, "r") as handle:
            while True:
                answer = self._ask("guest-file-read", {"handle": handle, "count": _READ_CHUNK_BYTES})
                chunk = _decoded(answer, "buf-b64")
                found += chunk
                if len(found) > limit_bytes:
                    raise BadInput(f"The file is larger than {limit_bytes} bytes.", "Copy it in parts.")
                if answer.get("eof") is True or not chunk:
                    return bytes(found)

    @contextlib.contextmanager
    def _opened(self, path: str, mode: str) -> Iterator[int]:
        try:
            handle = _integer(
                {"handle": self._ask_raw("guest-file-open", {"path": path, "mode": mode})}, "handle"
            )
        except AgentRefused as error:
            raise NotFound("The guest cannot open this path.", "Look at the path and its folder.") from error
        try:
            yield handle
        except BaseException:
            with _logged("close a file"):
                self._ask("guest-file-close", {"handle": handle})
            raise
        self._ask("guest-file-close", {"handle": handle})

    def _must(self, *argv: str) -> None:
        if self.execute(argv, b"", _COMMAND_TIMEOUT_S).exit_code != 0:
            raise AgentError(f"{argv[0]} failed inside the guest.", "Look at the path and its folder.")

    def _ask(
        self, command: str, arguments: Mapping[str, Any], timeout_s: int = _COMMAND_TIMEOUT_S
    ) -> dict[str, Any]:
        answer = self._ask_raw(command, arguments, timeout_s)
        if not isinstance(answer, dict):
            raise _wrong_shape()
        return answer

    def _ask_raw(
        self, command: str, arguments: Mapping[str, Any], timeout_s: int = _COMMAND_TIMEOUT_S
    ) -> object:
        message: dict[str, Any] = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        untrusted = self._send(json.dumps(message), timeout_s)
        if len(untrusted) > _MAX_ANSWER_CHARACTERS:
            raise AgentError("The guest's agent gave too long an answer.", "Look at the guest.")
        try:
            document = json.loads(untrusted)
        except (ValueError, RecursionError) as error:
            raise AgentError(
                "The guest's agent gave an answer that is no JSON.", "Look at the guest."
            ) from error
        if not isinstance(document, dict) or "return" not in document:
            raise AgentRefused("The guest's agent refused the command.", "Look at the guest.")
        return document["return"]


def _shell(script: str, *argv: str) -> dict[str, Any]:
    return {"path": "/bin/sh", "arg": ["-c", script, "sh", *argv], "capture-output": True}


def _exec_result(status: Mapping[str, Any], limit_bytes: int) -> ExecResult:
    out, err = _decoded(status, "out-data"), _decoded(status, "err-data")
    truncated = (
        status.get("out-truncated") is True
        or status.get("err-truncated") is True
        or max(len(out), len(err)) > limit_bytes
    )
    code = _SIGNAL_BASE + _integer(status, "signal") if "signal" in status else _integer(status, "exitcode")
    if code > _MAX_STATUS:
        raise _wrong_shape()
    return ExecResult(code, out[:limit_bytes], err[:limit_bytes], truncated)


def _decoded(answer: Mapping[str, Any], key: str) -> bytes:
    text = answer.get(key, "")
    if not isinstance(text, str):
        raise _wrong_shape()
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise _wrong_shape() from error


def _integer(answer: Mapping[str, Any], key: str) -> int:
    value = answer.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise _wrong_shape()
    return value


def _wrong_shape() -> AgentError:
    return AgentError("The guest's agent gave an answer of the wrong shape.", "Look at the guest.")


@contextlib.contextmanager
def _logged(doing: str) -> Iterator[None]:
    """For tidying after an error, which must not hide that error."""
    try:
        yield
    except (HostFailure, NotFound) as error:
        logger.warning("The guest's agent could not %s: %s", doing, error.message)


def _require_path(path: str) -> None:
    if not path.startswith("/") or "\0" in path or path.endswith("/"):
        raise BadInput(f"{path!r} is no path of a file inside the guest.", "Begin it with / and name a file.")
