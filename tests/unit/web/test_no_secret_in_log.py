"""The daemon's log holds no secret, whatever is sent where: every address, well and badly, with marked secrets."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.unit.web.site_under_test import PASSPHRASE, PASSWORD
from vault.site import Site
from web.daemon_log import set_up_logging

MARK = "m4rk3d-s3cr3t"
SECRETS = (MARK, PASSWORD, PASSPHRASE.decode())
#: Bodies that fit some address, and such as fit none.
BODIES: tuple[dict[str, Any], ...] = (
    {"name": "ada-admin", "password": MARK},
    {"name": MARK, "password": MARK},
    {"passphrase": MARK},
    {"passphrase": PASSPHRASE.decode()},
    {"name": "new-one", "password": MARK, "roles": ["operator"]},
    {"name": "new-one", "password": "short", "roles": [MARK]},
    {"old_password": PASSWORD, "new_password": MARK},
    {"label": MARK, "days": 1},
    {"argv": ["/bin/echo", MARK], "stdin": "bTRyazNkLXMzY3IzdA==", "timeout_s": 1},
    {"argv": MARK, "stdin": MARK},
    {"name": MARK, "path": f"/{MARK}", "format": "raw"},
    {"files": {"base.cedar": MARK}},
    {"framework": MARK, "since": MARK, "until": MARK},
    {MARK: MARK},
)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that the daemon would write, down to the least of our own lines."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    set_up_logging(stream)
    yield stream
    root.handlers[:], root.level = handlers, level


def addresses(app: Flask) -> list[tuple[str, str]]:
    """Each method and address, with the mark where a name or id stands."""
    found = []
    for rule in app.url_map.iter_rules():
        path = rule.rule
        for argument in rule.arguments:
            start = path.index("<")
            path = (
                path[:start]
                + (MARK if argument != "filename" else f"{MARK}.css")
                + path[path.index(">") + 1 :]
            )
        found += [
            (method, path) for method in sorted(rule.methods or ()) if method not in {"OPTIONS", "HEAD"}
        ]
    return sorted(found)


def holds_no_secret(log: io.StringIO) -> list[dict[str, Any]]:
    """The lines, none of which holds a secret."""
    written = log.getvalue()
    for secret in SECRETS:
        assert secret not in written, next(line for line in written.splitlines() if secret in line)
    return [json.loads(line) for line in written.splitlines()]


def test_no_address_writes_a_secret_into_the_log(
    app: Flask, anybody: FlaskClient, bearer: Callable[[str], dict[str, str]], log: io.StringIO
) -> None:
    administrator = bearer("ada-admin")
    asked = 0
    for method, path in addresses(app):
        if path == "/api/v1/sessions/current":
            continue  # it would end the session of those that follow
        for headers in (
            administrator,
            {"Authorization": f"Bearer {MARK}"},
            {"Cookie": f"__Host-strongroom={MARK}"},
        ):
            address = f"{path}?path=/{MARK}&next={MARK}&view=one"
            bodies = BODIES if method in {"POST", "PUT"} and headers is administrator else BODIES[:1]
            for body in bodies:
                anybody.open(address, method=method, headers=headers, json=body if method != "GET" else None)
                asked += 1
        anybody.open(
            path,
            method=method,
            headers=administrator,
            data=f'{{"password": "{MARK}"',
            content_type="application/json",
        )
        anybody.open(
            path,
            method=method,
            headers=administrator,
            data=f"password={MARK}",
            content_type="application/x-www-form-urlencoded",
        )
    lines = holds_no_secret(log)
    assert sum(line["source"] == "web.access" for line in lines) >= asked
    assert token_of(administrator) not in log.getvalue()


def test_a_defect_that_quotes_a_secret_is_told_without_it_and_found_by_its_request_id(
    site: Site, anybody: FlaskClient, bearer: Callable[[str], dict[str, str]], log: io.StringIO
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"cannot unseal with {MARK}") from ValueError(MARK)

    site.keys.unseal = broken  # type: ignore[method-assign, assignment]
    administrator = bearer("ada-admin")
    answer = anybody.post("/api/v1/keystore/unseal", headers=administrator, json={"passphrase": MARK})
    assert answer.status_code == 500
    assert MARK not in answer.text
    request_id = answer.headers["X-Request-Id"]
    assert request_id in answer.get_json()["error"]["hint"]
    lines = [line for line in holds_no_secret(log) if line.get("request") == request_id]
    told, access = lines
    assert told["level"] == "error"
    assert [cause["type"] for cause in told["error"]] == ["builtins.RuntimeError", "builtins.ValueError"]
    assert access["status"] == 500
    # The record says who tried what; the line names it, so that the two are found together.
    assert site.reader.by_id(access["record"]).action == "keystore.unseal"


def test_a_refusal_names_its_record_in_the_log(
    anybody: FlaskClient, bearer: Callable[[str], dict[str, str]], log: io.StringIO
) -> None:
    answer = anybody.post("/api/v1/guests/clinic-db/start", headers=bearer("anna-auditor"), json={})
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert lines[-1]["request"] == answer.headers["X-Request-Id"]
    denied = anybody.get("/api/v1/accounts", headers=bearer("olga-operator"))
    last = json.loads(log.getvalue().splitlines()[-1])
    assert last["record"] == denied.get_json()["error"]["record"]


def test_a_request_id_is_ours_whatever_the_client_sends(anybody: FlaskClient, log: io.StringIO) -> None:
    answer = anybody.get("/api/v1/status", headers={"X-Request-Id": MARK})
    assert answer.headers["X-Request-Id"] != MARK
    assert len(answer.headers["X-Request-Id"]) == 16
    holds_no_secret(log)


def test_two_requests_have_two_ids_and_what_is_logged_outside_one_has_none(
    anybody: FlaskClient, log: io.StringIO
) -> None:
    first, second = (anybody.get("/api/v1/status").headers["X-Request-Id"] for _ in range(2))
    assert first != second
    logging.getLogger("vault.jobs").warning("by itself")
    assert "request" not in json.loads(log.getvalue().splitlines()[-1])


def token_of(headers: dict[str, str]) -> str:
    """The token in a header."""
    return headers["Authorization"].removeprefix("Bearer ")
