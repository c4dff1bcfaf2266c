"""The site of these tests, its application, and people who are logged in."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.unit.web.site_under_test import PASSWORD, open_test_site
from vault.operations.sessions import login
from vault.site import Site
from web.app import create_app


class TlsClient(FlaskClient):
    """Requests go by TLS, as the cookie and the check of the referrer demand."""

    def open(self, *args: Any, **options: Any) -> TestResponse:  # noqa: ANN401 - werkzeug's own signature
        options.setdefault("base_url", "https://localhost:8443")
        return super().open(*args, **options)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A real site in a folder of its own."""
    made = open_test_site(tmp_path)
    yield made
    made.close()


@pytest.fixture
def app(site: Site) -> Flask:
    """The application of the site."""
    made = create_app(site)
    made.test_client_class = TlsClient
    return made


@pytest.fixture
def anybody(app: Flask) -> FlaskClient:
    """Somebody who is not logged in."""
    return app.test_client()


@pytest.fixture
def bearer(site: Site) -> Callable[[str], dict[str, str]]:
    """Makes the header of somebody who logged in by the API."""

    def log_in(name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {login(site, 'api', name, PASSWORD, '127.0.0.1')['token']}"}

    return log_in
