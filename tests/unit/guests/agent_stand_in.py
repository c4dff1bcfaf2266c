"""A guest agent for tests: it speaks the protocol, over a folder for the guest's files and this host's shell."""

import base64
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from vault.guests.agent import AgentRefused


@dataclass
class AgentStandIn:
    """Answers as qemu-ga does, one command after another.

    Attributes:
        replies: answers to give instead, by command: raw text, or an error to raise.
    """

    root: Path
    shell: tuple[str, ...] = ("/bin/sh",)
    replies: dict[str, str | Exception] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    open_files: dict[int, IO[bytes]] = field(default_factory=dict)
    ended: list[tuple[int, bytes, bytes]] = field(default_factory=list)

    def send(self, message: str, timeout_s: int) -> str:
        assert timeout_s > 0
        command = json.loads(message)
        self.asked.append(command)
        name = command["execute"]
        reply = self.replies.get(name)
        if isinstance(reply, Exception):
            raise reply
        if reply is not None:
            return reply
        do = getattr(self, "_" + name.replace("-", "_"))
        return json.dumps(
            {"return": do(**{k.replace("-", "_"): v for k, v in command.get("arguments", {}).items()})}
        )

    def _guest_ping(self) -> dict[str, Any]:
        return {}

    def _guest_exec(
        self, path: str, arg: list[str], *, capture_output: bool, input_data: str = ""
    ) -> dict[str, int]:
        assert path == "/bin/sh"
        assert capture_output
        # Paths of the guest become paths below the folder.
        arg = [str(self.root / a[1:]) if a.startswith(("/root/", "/run/")) else a for a in arg]
        done = subprocess.run(
            [*self.shell, *arg], input=base64.b64decode(input_data), capture_output=True, check=False
        )
        self.ended.append((done.returncode, done.stdout, done.stderr))
        return {"pid": len(self.ended)}

    def _guest_exec_status(self, pid: int) -> dict[str, Any]:
        code, out, err = self.ended[pid - 1]
        return {
            "exited": True,
            "exitcode": code,
            "out-data": base64.b64encode(out).decode(),
            "err-data": base64.b64encode(err).decode(),
        }

    def _guest_file_open(self, path: str, mode: str) -> int:
        try:
            file = (self.root / path[1:]).open(mode + "b")
        except OSError as error:
            raise AgentRefused("The guest's agent refused the command.") from error
        handle = 1000 + len(self.asked)
        self.open_files[handle] = file
        return handle

    def _guest_file_write(self, handle: int, buf_b64: str) -> dict[str, Any]:
        return {"count": self.open_files[handle].write(base64.b64decode(buf_b64)), "eof": False}

    def _guest_file_flush(self, handle: int) -> dict[str, Any]:
        self.open_files[handle].flush()
        return {}

    def _guest_file_read(self, handle: int, count: int) -> dict[str, Any]:
        data = self.open_files[handle].read(count)
        return {"count": len(data), "buf-b64": base64.b64encode(data).decode(), "eof": len(data) < count}

    def _guest_file_close(self, handle: int) -> dict[str, Any]:
        self.open_files.pop(handle).close()
        return {}
