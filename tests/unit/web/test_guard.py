"""Default deny, sessions, forged requests and headers, over every address that the application has."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlmodel import select
from werkzeug.routing import Rule

from tests.unit.web.site_under_test import PASSPHRASE, PASSWORD
from vault.model import LoginSession, utc_now
from vault.site import Site
from web.guard import OPEN_TO_ANYONE
from web.headers import HEADERS

Bearer = Callable[[str], dict[str, str]]


def _addresses(rule: Rule) -> Iterator[tuple[str, str]]:
    values = dict.fromkeys(rule.arguments, "x")
    path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", lambda found: values[found[1]], rule.rule)
    for method in sorted((rule.methods or set()) - {"HEAD"}):
        yield method, path


def _closed(app: Flask) -> list[tuple[str, str]]:
    return [
        address
        for rule in app.url_map.iter_rules()
        if rule.endpoint not in OPEN_TO_ANYONE
        for address in _addresses(rule)
    ]


def _token_of(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def _log_in_by_page(browser: FlaskClient, name: str = "olga-operator", password: str = PASSWORD) -> int:
    token = _token_of(browser.get("/login").text)
    answer = browser.post(
        "/login",
        data={"name": name, "password": password, "csrf_token": token},
        headers={"Referer": "https://localhost:8443/login"},
    )
    return answer.status_code


def test_every_address_needs_a_log_in_but_for_the_short_list(app: Flask, anybody: FlaskClient) -> None:
    closed = _closed(app)
    assert len(closed) > 50
    for method, path in closed:
        answer = anybody.open(path, method=method)
        assert answer.status_code == 401, (method, path)
        assert answer.get_json()["error"]["code"] == "session.not_authenticated"
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_open_addresses_exist_and_are_no_more_than_these(app: Flask) -> None:
    assert {rule.endpoint for rule in app.url_map.iter_rules()} >= OPEN_TO_ANYONE
    assert len(OPEN_TO_ANYONE) == 6


def test_a_view_that_somebody_forgets_to_protect_is_protected(app: Flask, anybody: FlaskClient) -> None:
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    answer = anybody.get("/forgotten")
    assert answer.status_code == 401
    assert "secret" not in answer.text


@pytest.mark.parametrize("value", ["Bearer nonsense", "Bearer ", "Basic b2xnYTpwYXNz", "nonsense", ""])
def test_a_header_that_is_no_good_token_lets_nobody_in(anybody: FlaskClient, value: str) -> None:
    assert anybody.get("/api/v1/whoami", headers={"Authorization": value}).status_code == 401


def test_a_bad_token_is_not_rescued_by_a_good_cookie(anybody: FlaskClient) -> None:
    assert _log_in_by_page(anybody) == 303
    assert anybody.get("/api/v1/whoami").status_code == 200
    assert anybody.get("/api/v1/whoami", headers={"Authorization": "Bearer nonsense"}).status_code == 401


def test_an_expired_session_is_answered_with_why(site: Site, anybody: FlaskClient, bearer: Bearer) -> None:
    header = bearer("olga-operator")
    with site.database.session() as session:
        for row in session.exec(select(LoginSession)):
            row.expires_at = utc_now() - timedelta(seconds=1)
    answer = anybody.get("/api/v1/whoami", headers=header)
    assert answer.status_code == 401
    assert answer.get_json()["error"] == {
        "code": "session.expired",
        "message": "Your session or token has expired.",
        "hint": "Run `strongroom login` again.",
        "exit": 3,
        "record": None,
    }


def test_the_cookie_is_secure_strict_and_out_of_reach_of_scripts(anybody: FlaskClient) -> None:
    cookie = anybody.get("/login").headers["Set-Cookie"]
    assert cookie.startswith("__Host-strongroom=")
    for attribute in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
        assert attribute in cookie
    assert "Domain" not in cookie


def test_whatever_changes_something_by_cookie_needs_the_pages_token(app: Flask, anybody: FlaskClient) -> None:
    assert _log_in_by_page(anybody, "ada-admin") == 303
    unsafe = [(method, path) for method, path in _closed(app) if method in {"POST", "PUT", "PATCH", "DELETE"}]
    assert len(unsafe) > 15
    for method, path in unsafe:
        for forged in ({}, {"csrf_token": "forged"}):
            answer = anybody.open(
                path, method=method, data=forged, headers={"Referer": "https://localhost:8443/"},
                content_type=None if forged else "application/json",
            )  # fmt: skip
            assert answer.status_code == 403, (method, path)
            assert answer.get_json()["error"]["code"] == "session.csrf", (method, path)
    assert anybody.get("/api/v1/whoami").status_code == 200


def test_the_right_token_from_another_site_changes_nothing(anybody: FlaskClient) -> None:
    assert _log_in_by_page(anybody) == 303
    token = _token_of(anybody.get("/").text)
    answer = anybody.post("/logout", data={"csrf_token": token}, headers={"Referer": "https://evil.example/"})
    assert answer.get_json()["error"]["code"] == "session.csrf"
    answer = anybody.post("/logout", data={"csrf_token": token})
    assert answer.get_json()["error"]["code"] == "session.csrf"
    answer = anybody.post(
        "/logout", data={"csrf_token": token}, headers={"Referer": "https://localhost:8443/"}
    )
    assert answer.status_code == 303
    assert anybody.get("/api/v1/whoami").status_code == 401


def test_a_log_in_forged_from_another_site_is_refused(anybody: FlaskClient) -> None:
    answer = anybody.post("/login", data={"name": "olga-operator", "password": PASSWORD})
    assert answer.status_code == 403


def test_nothing_of_the_session_before_lives_on_after_the_log_in(anybody: FlaskClient) -> None:
    before = _token_of(anybody.get("/login").text)
    assert _log_in_by_page(anybody) == 303
    answer = anybody.post(
        "/logout", data={"csrf_token": before}, headers={"Referer": "https://localhost:8443/"}
    )
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "evil"]
)
def test_a_log_in_leads_to_this_site_and_nowhere_else(anybody: FlaskClient, target: str) -> None:
    token = _token_of(anybody.get("/login").text)
    answer = anybody.post(
        "/login",
        data={"name": "olga-operator", "password": PASSWORD, "csrf_token": token, "next": target},
        headers={"Referer": "https://localhost:8443/login"},
    )
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/"


def test_tries_of_passwords_are_slowed_down_and_told_so(anybody: FlaskClient) -> None:
    for _ in range(20):
        assert anybody.post("/api/v1/sessions", json={"name": "nobody", "password": ""}).status_code == 400
    answer = anybody.post("/api/v1/sessions", json={"name": "ada-admin", "password": PASSWORD})
    assert answer.status_code == 429
    assert answer.get_json()["error"]["code"] == "rate.limited"
    assert answer.headers["Retry-After"] == "60"


def test_successful_log_ins_are_not_slowed_down(anybody: FlaskClient, bearer: Bearer) -> None:
    header = bearer("ada-admin")
    for _ in range(25):
        body = {"passphrase": PASSPHRASE.decode()}
        answer = anybody.post("/api/v1/keystore/unseal", json=body, headers=header)
        assert answer.status_code == 200, answer.text
        assert anybody.post("/api/v1/keystore/seal", headers=header).status_code == 200


def test_a_form_cannot_be_sent_to_the_api(anybody: FlaskClient, bearer: Bearer) -> None:
    answer = anybody.post("/api/v1/sessions", data={"name": "olga-operator", "password": PASSWORD})
    assert answer.status_code == 400
    answer = anybody.post(
        "/api/v1/keystore/seal", data="a=b", content_type="text/plain", headers=bearer("ada-admin")
    )
    assert answer.status_code == 400


def test_every_answer_carries_the_headers_errors_too(
    app: Flask, anybody: FlaskClient, bearer: Bearer
) -> None:
    def fail() -> str:
        raise ZeroDivisionError

    app.add_url_rule("/boom", "boom", fail)
    header = bearer("olga-operator")
    for method, path, headers in (
        ("GET", "/healthz", {}),
        ("GET", "/login", {}),
        ("GET", "/static/strongroom.css", {}),
        ("GET", "/nowhere", {}),
        ("PUT", "/healthz", {}),
        ("GET", "/api/v1/whoami", {}),
        ("GET", "/api/v1/guests", header),
        ("GET", "/boom", header),
        ("GET", "/openapi.json", header),
    ):
        answer = anybody.open(path, method=method, headers=headers)
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, (path, name)
        kept = "max-age=300" if path.startswith("/static/") else "no-store"
        assert answer.headers["Cache-Control"] == kept
        answer.close()
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
