"""Jobs by API and command line: cancelled by whom, followed from where one was, found again."""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient

from policies.vocabulary import Action
from tests.unit.web.fake_daemon import CommandLine, FakeDaemon, events, job
from tests.unit.web.site_under_test import start_work
from vault.jobs import Progress, tell_counts
from vault.model import Job, JobState
from vault.site import Site
from web.cli import waiting

Bearer = Callable[[str], dict[str, str]]


class Held:
    """Work that has told how far it is and waits."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, progress: Progress) -> Mapping[str, Any]:
        tell_counts(progress, 40, "Counting.", 4, 10)
        self.begun.set()
        self.go_on.wait(30)
        progress(60, "Going on.")
        return {"answer": 42}


@pytest.fixture
def held() -> Any:  # noqa: ANN401 - a generator fixture
    made = Held()
    yield made
    made.go_on.set()


def at_work(site: Site, held: Held, *, cancellable: bool = True) -> Job:
    found = start_work(site, held, cancellable=cancellable)
    assert held.begun.wait(10)
    return found


def told(text: str) -> list[dict[str, Any]]:
    return [
        json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")
    ]


def ids(text: str) -> list[int]:
    return [int(line.removeprefix("id: ")) for line in text.splitlines() if line.startswith("id: ")]


# -- the API -------------------------------------------------------------------------------------------


def test_a_job_shows_counts_attempt_and_whether_it_can_be_cancelled(
    site: Site, anybody: FlaskClient, bearer: Bearer, held: Held
) -> None:
    found = at_work(site, held)
    shown = anybody.get(f"/api/v1/jobs/{found.id}", headers=bearer("olga-operator")).get_json()
    assert shown["counts"] == {"done": 4, "total": 10}
    assert (shown["attempt"], shown["state"], shown["ended"]) == (1, "running", False)
    assert (shown["cancellable"], shown["cancelling"]) == (True, False)
    assert shown["started_at"] >= shown["created_at"]


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("olga-operator", 202),
        ("ada-admin", 202),
        ("anna-auditor", 403),
        ("carl-compliance", 403),
        ("kim-custodian", 404),
    ],
)
def test_whoever_asked_and_administrators_cancel_a_job_and_nobody_else(
    site: Site, anybody: FlaskClient, bearer: Bearer, held: Held, who: str, status: int
) -> None:
    found = at_work(site, held)
    answer = anybody.post(f"/api/v1/jobs/{found.id}/cancel", headers=bearer(who))
    assert answer.status_code == status
    assert (site.jobs.get(found.id).cancelled_by == f"id-{who}") is (status == 202)
    if status == 202:
        assert answer.get_json()["cancelling"] is True
        assert answer.get_json()["cancellable"] is False
    held.go_on.set()
    stream = anybody.get(f"/api/v1/jobs/{found.id}/events", headers=bearer("olga-operator")).text
    assert told(stream)[-1]["state"] == ("cancelled" if status == 202 else "done")


def test_what_cannot_be_cancelled_is_409_with_a_sentence_that_says_why(
    site: Site, anybody: FlaskClient, bearer: Bearer, held: Held
) -> None:
    olga = bearer("olga-operator")
    acting = at_work(site, held, cancellable=False)
    site.jobs._running[acting.id].acting = True
    answer = anybody.post(f"/api/v1/jobs/{acting.id}/cancel", headers=olga)
    assert answer.status_code == 409
    error = answer.get_json()["error"]
    assert (error["code"], error["exit"]) == ("job.not_cancellable", 5)
    assert "once it is under way" in error["message"]
    held.go_on.set()
    anybody.get(f"/api/v1/jobs/{acting.id}/events", headers=olga)
    again = anybody.post(f"/api/v1/jobs/{acting.id}/cancel", headers=olga)
    assert (again.status_code, again.get_json()["error"]["code"]) == (409, "job.not_cancellable")
    assert anybody.post("/api/v1/jobs/none/cancel", headers=olga).status_code == 404


def test_a_stream_begins_with_the_job_as_it_is_and_goes_on_where_the_client_was(
    site: Site, anybody: FlaskClient, bearer: Bearer, held: Held
) -> None:
    olga = bearer("olga-operator")
    found = at_work(site, held)
    known = site.jobs.get(found.id).revision
    threading.Timer(0.3, held.go_on.set).start()
    address = f"/api/v1/jobs/{found.id}/events"
    resumed = anybody.get(address, headers=olga | {"Last-Event-ID": str(known)}).text
    assert resumed.startswith("retry: ")
    assert min(ids(resumed)) > known, "what the client knows is not told again"
    assert told(resumed)[-1]["result"] == {"answer": 42}
    over = anybody.get(address, headers=olga | {"Last-Event-ID": str(max(ids(resumed)))}).text
    assert [one["state"] for one in told(over)] == ["done"], "the end is always told"
    for odd in ("", "nonsense", "-1", "9" * 400):
        assert told(anybody.get(address, headers=olga | {"Last-Event-ID": odd}).text)[0]["id"] == found.id


def test_a_client_that_comes_back_after_the_daemons_restart_finds_its_job(
    site: Site, anybody: FlaskClient, bearer: Bearer
) -> None:
    with site.database.session() as session:
        session.add(
            Job(id="left", account_id="id-olga-operator", action=Action.GUEST_STOP, subject="web-1",
                state=JobState.RUNNING, percent=30, revision=7)
        )  # fmt: skip
    site.jobs.open(site.jobs._kinds, lambda _intent: None, sealed=True)
    stream = anybody.get(
        "/api/v1/jobs/left/events", headers=bearer("olga-operator") | {"Last-Event-ID": "7"}
    ).text
    (end,) = told(stream)
    assert (end["state"], end["error"]["code"]) == ("failed", "job.interrupted")


# -- the command line ----------------------------------------------------------------------------------


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon()


@pytest.fixture
def strongroom(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    return CommandLine(daemon, capsys, tmp_path, monkeypatch)


def test_counts_are_part_of_the_sentence(
    strongroom: CommandLine, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_QUIET_S", -1.0)
    counted = job("running", counts={"done": 4, "total": 10}, sentence="Counting.")
    daemon.on("POST", "/api/v1/guests/web-1/start", httpx.Response(202, json=job("running")))
    daemon.on("GET", "/api/v1/jobs/7a0c/events", events(counted, job("done", result={})))
    assert "Counting (4 of 10)." in strongroom("guest", "start", "web-1").err


def test_a_daemon_that_stays_away_leaves_a_sentence_on_how_to_find_the_job(
    strongroom: CommandLine, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "AWAY_S", 0.3)
    monkeypatch.setattr(waiting, "_BETWEEN_S", 0.1)
    asked = []

    def gone(_request: httpx.Request) -> httpx.Response:
        asked.append(True)
        raise httpx.ConnectError("refused")

    daemon.on("POST", "/api/v1/guests/web-1/start", httpx.Response(202, json=job("running")))
    daemon.on("GET", "/api/v1/jobs/7a0c/events", gone)
    ended = strongroom("guest", "start", "web-1", "--json")
    assert ended.code == 1
    assert ended.document["error"]["code"] == "daemon.unreachable"
    assert "strongroom job wait 7a0c" in ended.err
    assert len(asked) > 1


def test_a_cancelled_job_ends_whoever_waits_with_5(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    error = {"code": "job.cancelled", "message": "It was cancelled.", "hint": "", "exit": 5, "record": None}
    daemon.on("POST", "/api/v1/guests/web-1/start", httpx.Response(202, json=job("waiting")))
    daemon.on("GET", "/api/v1/jobs/7a0c/events", events(job("cancelled", error=error)))
    assert strongroom("guest", "start", "web-1").code == 5


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [("cancelled", 0, "taken back"), ("done", 5, "had ended"), ("failed", 5, "had ended")],
)
def test_cancelling_ends_with_0_only_when_the_job_is_cancelled(
    strongroom: CommandLine, daemon: FakeDaemon, end: str, code: int, told: str
) -> None:
    error = {"code": "x", "message": "It.", "hint": "", "exit": 4, "record": None}
    daemon.on("POST", "/api/v1/jobs/7a0c/cancel", httpx.Response(202, json=job("running")))
    daemon.on("GET", "/api/v1/jobs/7a0c/events", events(job(end, error=None if end == "done" else error)))
    ended = strongroom("job", "cancel", "7a0c")
    assert (ended.code, told in ended.out + ended.err) == (code, True)
    assert strongroom("job", "cancel", "7a0c", "--no-wait").code == 0


def test_waiting_for_an_agent_goes_on_over_a_restart_of_the_daemon(
    strongroom: CommandLine, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_BETWEEN_S", 0.01)
    running = {"name": "web-1", "state": "running", "agent": True}
    answers: list[dict[str, Any] | Exception] = [
        {**running, "agent": False},
        httpx.ReadError("reset"),
        httpx.ConnectError("refused"),
        running,
    ]

    def look(_request: httpx.Request) -> httpx.Response:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(200, json=answer)

    daemon.on("GET", "/api/v1/guests/web-1", look)
    assert strongroom("guest", "start", "web-1", "--wait", "--json").document["agent"] is True
    assert answers == []
