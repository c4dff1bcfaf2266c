"""A daemon that answers the command line from a table, and a way to run the command line against it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from web.cli.credentials import Credentials
from web.cli.main import run

URL = "https://localhost:8443"
Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


@dataclass
class FakeDaemon(httpx.BaseTransport):
    """Answers requests by method and path; keeps what it was asked."""

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    asked: list[httpx.Request] = field(default_factory=list)

    def on(self, method: str, path: str, answer: Answer | dict[str, Any]) -> None:
        """Answer so; a dictionary is a JSON answer with status 200."""
        self.answers[method, path] = httpx.Response(200, json=answer) if isinstance(answer, dict) else answer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        answer = self.answers.get((request.method, request.url.path))
        if answer is None:
            return refusal("not_found", 4, 404)
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    def body(self, number: int = -1) -> Any:  # noqa: ANN401 - JSON is what it is
        """What the request held."""
        return json.loads(self.asked[number].content)


@dataclass
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document."""
        found: dict[str, Any] = json.loads(self.out)
        return found


class CommandLine:
    """Runs `strongroom` in this process."""

    def __init__(
        self,
        daemon: httpx.BaseTransport,
        capture: pytest.CaptureFixture[str],
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self._daemon = daemon
        self._capture = capture
        credentials = folder / "credentials.json"
        monkeypatch.setenv("STRONGROOM_CREDENTIALS", str(credentials))
        monkeypatch.setenv("STRONGROOM_DATA_DIR", str(folder / "main"))
        self.credentials = Credentials(credentials)
        self.credentials.store(URL, "default", "t0ken", "olga-operator")

    def __call__(self, *arguments: str) -> Ended:
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            run(list(arguments), transport=self._daemon)
        captured = self._capture.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else -1, captured.out, captured.err)


def refusal(code: str, exit_code: int, status: int, **more: object) -> httpx.Response:
    """An error as the daemon answers it."""
    body = {
        "code": code,
        "message": "It was refused.",
        "hint": "Do otherwise.",
        "exit": exit_code,
        "record": None,
    }
    return httpx.Response(status, json={"error": {**body, **more}})


def job(state: str = "done", **more: object) -> dict[str, Any]:
    """A job as the daemon answers it."""
    return {
        "id": "7a0c",
        "action": "guest.start",
        "subject": "web-1",
        "state": state,
        "percent": 100 if state == "done" else 40,
        "sentence": "Done." if state == "done" else "Handing the keys to the guest.",
        "result": None,
        "error": None,
        "created_at": "2026-01-31T12:00:00+00:00",
        "ended_at": None,
        **more,
    }


def events(*jobs: dict[str, Any]) -> httpx.Response:
    """A stream of a job's changes."""
    text = "".join(f"event: progress\ndata: {json.dumps(one)}\n\n" for one in jobs)
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})
