"""The API over a real gate, log and policy: what it answers, and that what it did is in the log."""

import base64
import io
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from audit.log.query import Filter
from tests.unit.web.site_under_test import PASSPHRASE, PASSWORD, start_work
from vault.jobs import Progress
from vault.site import Site

Bearer = Callable[[str], dict[str, str]]


def _ended(anybody: FlaskClient, header: dict[str, str], job: dict[str, Any]) -> dict[str, Any]:
    """Follow a job to its end by its events."""
    stream = anybody.get(f"/api/v1/jobs/{job['id']}/events", headers=header).text
    last: dict[str, Any] = json.loads(stream.strip().split("data: ")[-1])
    return last


def test_the_status_is_for_anyone_and_tells_nothing_of_guests_or_people(anybody: FlaskClient) -> None:
    status = anybody.get("/api/v1/status").get_json()
    assert status["sealed"] is True
    assert set(status) == {
        "instance", "version", "sealed", "seal", "gate", "log", "hypervisor", "accelerator",
    }  # fmt: skip
    assert anybody.get("/healthz").get_json() == {"ok": True}


def test_a_log_in_answers_with_a_token_once_and_sets_no_cookie(anybody: FlaskClient) -> None:
    answer = anybody.post(
        "/api/v1/sessions",
        json={"name": "anna-auditor", "password": PASSWORD},
        headers={"User-Agent": "strongroom-cli/1"},
    )
    assert answer.status_code == 201
    assert "Set-Cookie" not in answer.headers
    header = {"Authorization": f"Bearer {answer.get_json()['token']}"}
    who = anybody.get("/api/v1/whoami", headers=header).get_json()
    assert who["name"] == "anna-auditor"
    assert anybody.delete("/api/v1/sessions/current", headers=header).status_code == 200
    assert anybody.get("/api/v1/whoami", headers=header).status_code == 401


def test_a_wrong_password_is_one_sentence_whoever_tries(anybody: FlaskClient) -> None:
    answers = [
        anybody.post("/api/v1/sessions", json={"name": name, "password": "wrong passw0rd"})
        for name in ("anna-auditor", "nobody-here")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    messages = [answer.get_json()["error"]["message"] for answer in answers]
    assert messages[0] == messages[1]
    assert all(answer.get_json()["error"]["record"] for answer in answers)


def test_the_way_a_request_came_by_is_in_its_record(site: Site, anybody: FlaskClient, bearer: Bearer) -> None:
    header = bearer("olga-operator")
    anybody.get("/api/v1/guests", headers=header)
    anybody.get("/api/v1/guests", headers=header | {"User-Agent": "strongroom-cli/1"})
    records = site.reader.search(Filter(), limit=2).items
    assert [record.source and record.source["channel"] for record in records] == ["cli", "api"]


def test_what_the_policy_denies_is_403_and_names_its_record(
    site: Site, anybody: FlaskClient, bearer: Bearer
) -> None:
    answer = anybody.get("/api/v1/log/records", headers=bearer("olga-operator"))
    assert answer.status_code == 403
    error = answer.get_json()["error"]
    assert error["exit"] == 3
    record = site.reader.by_id(error["record"])
    assert (record.kind, record.action) == ("denied", "log.list")


def test_the_key_store_opens_with_the_passphrase_and_not_without(
    anybody: FlaskClient, bearer: Bearer
) -> None:
    header = bearer("kim-custodian")
    wrong = anybody.post("/api/v1/keystore/unseal", json={"passphrase": "wrong"}, headers=header)
    assert (wrong.status_code, wrong.get_json()["error"]["exit"]) == (503, 6)
    right = anybody.post("/api/v1/keystore/unseal", json={"passphrase": PASSPHRASE.decode()}, headers=header)
    assert right.get_json()["sealed"] is False
    assert anybody.post("/api/v1/keystore/seal", headers=header).get_json()["sealed"] is True


def test_a_denied_start_is_a_job_that_failed_with_the_record(
    site: Site, anybody: FlaskClient, bearer: Bearer
) -> None:
    header = bearer("anna-auditor")
    answer = anybody.post("/api/v1/guests/clinic-db/start", headers=header)
    assert answer.status_code == 202
    job = _ended(anybody, header, answer.get_json())
    assert job["state"] == "failed"
    assert job["error"]["exit"] == 3
    assert site.reader.by_id(job["error"]["record"]).policies


def test_a_guest_that_does_not_exist_is_404_with_the_nearest_name(
    anybody: FlaskClient, bearer: Bearer
) -> None:
    answer = anybody.get("/api/v1/guests/web-11", headers=bearer("olga-operator"))
    assert answer.status_code == 404
    assert "web-1" in answer.get_json()["error"]["hint"]


@pytest.mark.parametrize("name", ["../web-1", "web%2F1", "a b", "%00", "é", "." * 300])
def test_odd_names_in_an_address_are_not_found_and_nothing_else(
    anybody: FlaskClient, bearer: Bearer, name: str
) -> None:
    assert anybody.get(f"/api/v1/guests/{name}", headers=bearer("olga-operator")).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"vcpus": "two"},
        {"vcpus": 1.5},
        {"vcpus": True},
        {"memory_bytes": None},
        {"labels": "ephi"},
        {"labels": [""]},
        {"name": ""},
        {"name": "x" * 201},
        {"surprise": 1},
    ],
)
def test_a_guest_that_cannot_be_meant_is_refused_before_anything_is_done(
    site: Site, anybody: FlaskClient, bearer: Bearer, change: dict[str, Any]
) -> None:
    header = bearer("olga-operator")
    before = site.log.head().size
    body = {"name": "new", "image": "debian-12", "vcpus": 1, "memory_bytes": 2**30, "disk_bytes": 2**32}
    answer = anybody.post("/api/v1/guests", json=body | change, headers=header)
    assert answer.status_code == 400
    assert next(iter(change)) in answer.get_json()["error"]["message"]
    assert site.log.head().size == before


def test_a_command_gets_standard_input_and_its_text_comes_back(anybody: FlaskClient, bearer: Bearer) -> None:
    header = bearer("olga-operator")
    body = {"argv": ["/bin/cat"], "stdin": base64.b64encode("Grüße".encode()).decode()}
    ended = anybody.post("/api/v1/guests/web-1/exec", json=body, headers=header).get_json()
    assert (ended["stdout"], ended["encoding"], ended["exit_code"]) == ("Grüße", "utf-8", 0)
    raw = base64.b64encode(b"\xff\x00").decode()
    ended = anybody.post(
        "/api/v1/guests/web-1/exec", json={"argv": ["/bin/cat"], "stdin": raw}, headers=header
    ).get_json()
    assert (ended["stdout"], ended["encoding"]) == (raw, "base64")


@pytest.mark.parametrize(
    "body",
    [{"argv": []}, {"argv": ["a\x00b"]}, {"argv": ["a"], "stdin": "%%%"}, {"argv": ["a"], "timeout_s": 0}],
)
def test_a_command_that_cannot_be_run_is_bad_input(
    anybody: FlaskClient, bearer: Bearer, body: dict[str, Any]
) -> None:
    answer = anybody.post("/api/v1/guests/web-1/exec", json=body, headers=bearer("olga-operator"))
    assert answer.status_code == 400


def test_a_file_goes_in_and_comes_out_as_it_was(anybody: FlaskClient, bearer: Bearer) -> None:
    header = bearer("olga-operator")
    data = bytes(range(256)) * 8192  # beyond what a JSON body may hold
    answer = anybody.put(
        "/api/v1/guests/web-1/files?path=/root/data",
        input_stream=io.BytesIO(data),
        content_length=len(data),
        content_type="application/octet-stream",
        headers=header,
    )
    assert answer.get_json()["size_bytes"] == len(data)
    assert anybody.get("/api/v1/guests/web-1/files?path=/root/data", headers=header).data == data
    assert anybody.put("/api/v1/guests/web-1/files?path=/x&mode=777x", headers=header).status_code == 400


def test_the_log_is_listed_in_pages_and_filtered(anybody: FlaskClient, bearer: Bearer) -> None:
    operator, auditor = bearer("olga-operator"), bearer("anna-auditor")
    for _ in range(3):
        anybody.get("/api/v1/guests", headers=operator)
    first = anybody.get("/api/v1/log/records?action=guest.list&limit=2", headers=auditor).get_json()
    assert [record["action"] for record in first["items"]] == ["guest.list"] * 2
    rest = anybody.get(
        f"/api/v1/log/records?action=guest.list&limit=2&next={first['next']}", headers=auditor
    ).get_json()
    assert len(rest["items"]) == 1
    assert rest["next"] is None
    for wrong in ("limit=0", "limit=x", "kind=nonsense", "since=yesterday", "next=%ff", "surprise=1"):
        assert anybody.get(f"/api/v1/log/records?{wrong}", headers=auditor).status_code == 400, wrong


def test_a_record_is_shown_with_what_decided_it(anybody: FlaskClient, bearer: Bearer) -> None:
    anybody.get("/api/v1/log/records", headers=bearer("olga-operator"))
    auditor = bearer("anna-auditor")
    denied = anybody.get("/api/v1/log/records?kind=denied", headers=auditor).get_json()["items"][0]
    shown = anybody.get(f"/api/v1/log/records/{denied['seq']}", headers=auditor).get_json()
    assert shown["id"] == denied["id"]
    assert shown["inputs_document"]["context"]["channel"] == "api"
    assert (
        anybody.get(f"/api/v1/log/records/{denied['id']}", headers=auditor).get_json()["seq"] == denied["seq"]
    )
    assert anybody.get("/api/v1/log/records/999999", headers=auditor).status_code == 404
    assert anybody.get("/api/v1/log/records/nonsense", headers=auditor).status_code == 404


def test_a_job_is_followed_by_its_events_to_its_end(site: Site, anybody: FlaskClient, bearer: Bearer) -> None:
    go_on = threading.Event()

    def work(progress: Progress) -> dict[str, Any]:
        progress(40, "Half way.")
        go_on.wait(10)
        return {"answer": 42}

    job = start_work(site, work)
    answer = anybody.get(f"/api/v1/jobs/{job.id}/events", headers=bearer("olga-operator"), buffered=False)
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    seen = []
    for piece in answer.response:
        text = piece if isinstance(piece, str) else piece.decode()
        if "event: progress" in text:
            seen.append(json.loads(text.split("data: ")[1]))
        if seen and seen[-1]["percent"] == 40:
            go_on.set()
    assert seen[-1]["state"] == "done"
    assert seen[-1]["result"] == {"answer": 42}
    assert any(one["sentence"] == "Half way." for one in seen)


def test_a_stream_ends_when_the_daemon_is_asked_to_stop(app: Flask, site: Site, bearer: Bearer) -> None:
    go_on = threading.Event()

    def work(_progress: Progress) -> dict[str, Any]:
        go_on.wait(30)
        return {}

    job = start_work(site, work)
    app.extensions["strongroom.stopping"].set()
    client = app.test_client()
    answer = client.get(f"/api/v1/jobs/{job.id}/events", headers=bearer("olga-operator"))
    assert answer.text.count("event: progress") >= 1
    assert '"state": "done"' not in answer.text
    go_on.set()


def test_a_job_is_seen_by_whoever_asked_and_by_those_who_watch_over_it(
    site: Site, anybody: FlaskClient, bearer: Bearer
) -> None:
    job = start_work(site, lambda _progress: {})
    for name, status in {
        "olga-operator": 200,
        "ada-admin": 200,
        "anna-auditor": 200,
        "carl-compliance": 200,
        "kim-custodian": 404,
    }.items():
        header = bearer(name)
        assert anybody.get(f"/api/v1/jobs/{job.id}", headers=header).status_code == status, name
        listed = anybody.get("/api/v1/jobs", headers=header).get_json()["items"]
        assert bool(listed) is (status == 200), name
    assert anybody.get("/api/v1/jobs/nonsense", headers=bearer("ada-admin")).status_code == 404


def test_accounts_and_tokens_are_made_used_and_ended(anybody: FlaskClient, bearer: Bearer) -> None:
    admin = bearer("ada-admin")
    anybody.post("/api/v1/keystore/unseal", json={"passphrase": PASSPHRASE.decode()}, headers=admin)
    body = {"name": "otto-operator", "password": "another l0ng one", "roles": ["operator"]}
    made = anybody.post("/api/v1/accounts", json=body, headers=admin)
    assert (made.status_code, made.get_json()["roles"]) == (201, ["operator"])
    assert "another" not in made.text
    assert anybody.post("/api/v1/accounts", json=body, headers=admin).status_code == 409
    odd = anybody.post("/api/v1/accounts", json=body | {"name": "o", "roles": ["king"]}, headers=admin)
    assert odd.status_code == 400
    own = bearer("olga-operator")
    token = anybody.post("/api/v1/tokens", json={"label": "backup", "days": 30}, headers=own).get_json()
    service = {"Authorization": f"Bearer {token['token']}"}
    assert anybody.get("/api/v1/guests", headers=service).status_code == 200
    assert "token" not in anybody.get("/api/v1/tokens", headers=own).get_json()["items"][0]
    assert anybody.delete(f"/api/v1/tokens/{token['id']}", headers=own).status_code == 200
    assert anybody.get("/api/v1/guests", headers=service).status_code == 401
    assert anybody.post("/api/v1/accounts/olga-operator/disable", headers=admin).status_code == 200
    assert anybody.get("/api/v1/guests", headers=own).status_code == 401


def test_a_wrong_present_password_changes_nothing(anybody: FlaskClient, bearer: Bearer) -> None:
    header = bearer("olga-operator")
    body = {"old_password": "wrong passw0rd", "new_password": "quite an0ther one"}
    assert anybody.put("/api/v1/accounts/me/password", json=body, headers=header).status_code == 401
    assert anybody.get("/api/v1/whoami", headers=header).status_code == 200
    body["old_password"] = PASSWORD
    assert (
        anybody.put("/api/v1/accounts/me/password", json=body, headers=header).get_json()["changed"] is True
    )


def test_policies_are_listed_with_their_text_and_a_set_is_checked(
    anybody: FlaskClient, bearer: Bearer
) -> None:
    header = bearer("anna-auditor")
    listed = anybody.get("/api/v1/policies", headers=header).get_json()
    assert all(policy["text"] and policy["controls"] for policy in listed["items"])
    broken = {"files": {"schema.cedarschema": "nonsense", "base.cedar": "permit"}}
    answer = anybody.post("/api/v1/policies/check", json=broken, headers=header)
    assert (answer.status_code, answer.get_json()["error"]["exit"]) == (400, 2)


def test_a_checkpoint_is_signed_over_the_present_head(
    site: Site, anybody: FlaskClient, bearer: Bearer
) -> None:
    signed = anybody.post("/api/v1/log/checkpoint", headers=bearer("anna-auditor")).get_json()
    assert signed["note"].startswith("strongroom.test/main\n")
    assert 0 < signed["size"] <= site.log.head().size


def test_the_api_describes_itself(anybody: FlaskClient, bearer: Bearer) -> None:
    document = anybody.get("/openapi.json", headers=bearer("olga-operator")).get_json()
    paths = document["paths"]
    assert "/api/v1/guests/{name}/exec" in paths
    assert not any(path.startswith(("/login", "/guests")) for path in paths)
    for path, operations in paths.items():
        for method, operation in operations.items():
            if method != "parameters":
                assert operation["summary"], (method, path)
    body = paths["/api/v1/guests"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "GuestRequest" in json.dumps(body)


def test_ones_own_sessions_are_listed_and_ended_and_nobody_elses(
    anybody: FlaskClient, bearer: Bearer
) -> None:
    here, elsewhere, theirs = bearer("olga-operator"), bearer("olga-operator"), bearer("carl-compliance")
    listed = anybody.get("/api/v1/sessions/own", headers=here).get_json()["items"]
    assert sorted(session["current"] for session in listed) == [False, True]
    other = next(session["id"] for session in listed if not session["current"])
    assert anybody.delete(f"/api/v1/sessions/{other}", headers=theirs).status_code == 404
    assert anybody.get("/api/v1/whoami", headers=elsewhere).status_code == 200
    assert anybody.delete(f"/api/v1/sessions/{other}", headers=here).get_json()["ended"] is True
    assert anybody.get("/api/v1/whoami", headers=elsewhere).status_code == 401
    assert anybody.delete(f"/api/v1/sessions/{other}", headers=here).status_code == 404
