"""Every error in one shape, with the status that follows from its exit code."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from policies.errors import ExitCode, StrongroomError
from vault.errors import NotAuthenticated
from web.errors import STATUS_OF

Bearer = Callable[[str], dict[str, str]]
_STATUS = {1: 500, 2: 400, 3: 403, 4: 404, 5: 409, 6: 503, 7: 500, 8: 202, 9: 503, 10: 502, 11: 500}


def _failing(error: type[StrongroomError]) -> Callable[[], str]:
    def view() -> str:
        raised = error("It is so.", "Do this.")
        raised.record = "ab12"
        raise raised

    return view


@pytest.mark.parametrize("exit_code", [code for code in ExitCode if code is not ExitCode.DONE])
def test_the_status_follows_from_the_exit_code(
    app: Flask, anybody: FlaskClient, bearer: Bearer, exit_code: ExitCode
) -> None:
    error = type("Thing", (StrongroomError,), {"code": "some.thing", "exit_code": exit_code})
    app.add_url_rule("/api/v1/fails", "fails", _failing(error))
    answer = anybody.get("/api/v1/fails", headers=bearer("olga-operator"))
    assert answer.status_code == _STATUS[exit_code] == STATUS_OF[exit_code]
    assert answer.get_json() == {
        "error": {
            "code": "some.thing",
            "message": "It is so.",
            "hint": "Do this.",
            "exit": int(exit_code),
            "record": "ab12",
        }
    }


def test_whoever_is_not_known_gets_401_and_not_403(app: Flask, anybody: FlaskClient, bearer: Bearer) -> None:
    app.add_url_rule("/api/v1/fails", "fails", _failing(NotAuthenticated))
    assert anybody.get("/api/v1/fails", headers=bearer("olga-operator")).status_code == 401


def test_a_defect_of_ours_is_told_without_its_text(app: Flask, anybody: FlaskClient, bearer: Bearer) -> None:
    def view() -> str:
        raise RuntimeError("hunter2")

    app.add_url_rule("/api/v1/fails", "fails", view)
    answer = anybody.get("/api/v1/fails", headers=bearer("olga-operator"))
    assert answer.status_code == 500
    assert answer.get_json()["error"]["code"] == "unexpected"
    assert "hunter2" not in answer.text


@pytest.mark.parametrize("body", [b"{", b"", b"[1,2]", b'"text"', b"null", b"\xff\xfe", b'{"name": 1}'])
def test_malformed_json_is_bad_input_in_one_sentence(anybody: FlaskClient, body: bytes) -> None:
    answer = anybody.post("/api/v1/sessions", data=body, content_type="application/json")
    assert answer.status_code == 400
    error = answer.get_json()["error"]
    assert error["exit"] == 2
    assert error["code"] == "input.malformed"
    assert "\n" not in error["message"]


def test_a_field_that_does_not_fit_is_named_and_its_value_is_not_repeated(anybody: FlaskClient) -> None:
    answer = anybody.post("/api/v1/sessions", json={"name": "olga", "password": ["s3cret"]})
    assert answer.status_code == 400
    assert "password" in answer.get_json()["error"]["message"]
    assert "s3cret" not in answer.text


def test_an_unknown_field_is_refused_and_not_ignored(anybody: FlaskClient) -> None:
    answer = anybody.post("/api/v1/sessions", json={"name": "olga", "password": "x", "admin": True})
    assert answer.status_code == 400
    assert "admin" in answer.get_json()["error"]["message"]


def test_an_unknown_address_is_404_in_the_same_shape(anybody: FlaskClient) -> None:
    answer = anybody.get("/api/v1/nowhere")
    assert answer.status_code == 404
    assert answer.get_json()["error"]["exit"] == 4


def test_a_method_that_is_not_there_is_405_and_says_which_are(anybody: FlaskClient) -> None:
    answer = anybody.delete("/healthz")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]
    assert answer.get_json()["error"]["exit"] == 2


def test_a_body_beyond_the_limit_is_413(anybody: FlaskClient) -> None:
    answer = anybody.post("/api/v1/sessions", data=b" " * (1024 * 1024 + 1), content_type="application/json")
    assert answer.status_code == 413
    assert answer.get_json()["error"]["code"] == "input.too_large"


def test_a_browser_gets_a_page_and_a_program_json(anybody: FlaskClient) -> None:
    page = anybody.get("/nowhere", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert page.mimetype == "text/html"
    assert "There is nothing at this address." in page.text
    assert anybody.get("/nowhere", headers={"Accept": "*/*"}).mimetype == "application/json"
    assert anybody.get("/api/v1/nowhere", headers={"Accept": "text/html"}).mimetype == "application/json"


def test_whoever_is_not_logged_in_gets_the_form_where_they_wanted_to_go(anybody: FlaskClient) -> None:
    page = anybody.get("/guests/web-1", headers={"Accept": "text/html"})
    assert page.status_code == 401
    assert 'name="next" value="/guests/web-1"' in page.text
