"""How tests go through the pages as a person does: log in, read, fill in forms; and what every page must keep to."""

import re
from html.parser import HTMLParser

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.unit.web.site_under_test import PASSWORD

HTML = {"Accept": "text/html"}
OWN = {"Accept": "text/html", "Referer": "https://localhost:8443/"}


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of each element of this kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def enter(browser: FlaskClient, name: str) -> FlaskClient:
    """Log in as somebody, after whoever was logged in."""
    browser.delete_cookie("__Host-strongroom", domain="localhost")
    data = {"name": name, "password": PASSWORD, "csrf_token": token_of(browser.get("/login").text)}
    assert browser.post("/login", data=data, headers=OWN).status_code == 303
    return browser


def token_of(page: str) -> str:
    """The token against forged requests that a page's forms carry."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def see(browser: FlaskClient, path: str, status: int = 200) -> str:
    """The page at a path."""
    answer = browser.get(path, headers=HTML)
    assert answer.status_code == status, (path, answer.text)
    return answer.text


def send(browser: FlaskClient, path: str, **fields: str | list[str]) -> TestResponse:
    """Send a form, with the token of the log-out button that every page has."""
    return browser.post(path, data={"csrf_token": token_of(see(browser, "/")), **fields}, headers=OWN)


def keeps_to_the_rules(text: str) -> None:
    """Nothing inline, nothing from elsewhere, a token in each form, a label for each field, one heading."""
    page = Elements(text)
    assert all(script.get("src") for script in page.all("script"))
    assert not page.all("style")
    for tag, attributes in page.tags:
        assert "style" not in attributes, tag
        assert not any(name.startswith(("on", "hx-on")) for name in attributes), tag
        for name in ("src", "href", "action", "hx-get", "hx-post"):
            assert (attributes.get(name) or "/").startswith(("/", "#")), (tag, attributes)
    assert text.count('method="post"') == text.count('name="csrf_token"')
    labels = {attributes.get("for") for attributes in page.all("label")}
    for field in page.all("input") + page.all("select") + page.all("textarea"):
        assert field.get("type") == "hidden" or field.get("id") in labels, field
    for password in [field for field in page.all("input") if field.get("type") == "password"]:
        assert password.get("autocomplete") in {"off", "current-password", "new-password"}
        assert not password.get("value")
    assert all("scope" in heading for heading in page.all("th"))
    assert len(page.all("h1")) == 1
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
