"""People who use the pages of the site under test: log in, send forms with their token, leave again."""

import re
from collections.abc import Mapping

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from policies.vocabulary import EntityRef, EntityType
from tests.unit.web.site_under_test import PASSPHRASE, PASSWORD
from vault.gate import Caller
from vault.operations import keystore
from vault.site import Site

HTML = {"Accept": "text/html"}
OWN = {"Referer": "https://localhost:8443/"}
#: What htmx sends when a page refreshes a part of itself.
PART = HTML | {"HX-Request": "true", "X-Strongroom-Refresh": "yes"}


def enter(browser: FlaskClient, name: str) -> FlaskClient:
    """Log in, as somebody who was not there before."""
    browser.delete_cookie("__Host-strongroom", domain="localhost")
    data = {"name": name, "password": PASSWORD, "csrf_token": token_of(browser.get("/login").text)}
    assert browser.post("/login", data=data, headers=OWN).status_code == 303
    return browser


def token_of(page: str) -> str:
    """The token of a page's first form."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def send(
    browser: FlaskClient, page: str, address: str, fields: Mapping[str, object] | None = None
) -> TestResponse:
    """Send a form that stands on a page."""
    token = token_of(browser.get(page, headers=HTML).text)
    return browser.post(address, data={"csrf_token": token} | dict(fields or {}), headers=OWN | HTML)


def unseal(site: Site) -> None:
    """Open the key store, as a custodian does."""
    keystore.unseal(site, Caller(EntityRef(EntityType.ACCOUNT, "id-ada-admin"), "api"), bytearray(PASSPHRASE))
