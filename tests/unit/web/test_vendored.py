"""The files that others wrote are there and whole, or it is said plainly that they are not."""

import json
import logging
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from vault.site import Site
from web import static_files, vendored
from web.app import create_app

HTML = {"Accept": "text/html"}


def _folder(tmp_path: Path) -> Path:
    files = {}
    for name in vendored.NAMES:
        (tmp_path / f"1.0-{name}").write_text("x")
        files[name] = {"file": f"1.0-{name}", "sha256": "0" * 64}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    return tmp_path


def test_the_set_up_has_fetched_what_the_pages_need() -> None:
    assert vendored.find().keys() == set(vendored.NAMES)


def test_what_is_whole_is_found_by_name(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert vendored.find(folder)["htmx.js"] == f"{folder.name}/1.0-htmx.js"
    assert vendored.inspect(folder)["ok"]


@pytest.mark.parametrize(
    "damage", ["no folder", "no manifest", "manifest cut off", "a file gone", "a name gone"]
)
def test_what_is_not_whole_is_a_finding_with_what_mends_it(tmp_path: Path, damage: str) -> None:
    folder = _folder(tmp_path)
    manifest = folder / "manifest.json"
    if damage == "no folder":
        folder = tmp_path / "nowhere"
    elif damage == "no manifest":
        manifest.unlink()
    elif damage == "manifest cut off":
        manifest.write_text(manifest.read_text()[:20])
    elif damage == "a file gone":
        (folder / "1.0-htmx.js").unlink()
    else:
        listed = json.loads(manifest.read_text())
        del listed["files"]["htmx.js"]
        manifest.write_text(json.dumps(listed))
    found = vendored.inspect(folder)
    assert not found["ok"]
    assert "make assets" in found["remedy"]


def test_a_daemon_without_them_says_so_at_its_start_and_on_its_pages(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(static_files, "VENDOR", tmp_path / "nowhere")
    with caplog.at_level(logging.WARNING, "web.app"):
        app = create_app(site)
    assert "make assets" in caplog.text
    page = app.test_client().get("/login", headers=HTML, base_url="https://localhost:8443").text
    assert "make assets" in page
    assert "/static/vendor/" not in page


def test_a_file_asked_for_by_its_digest_may_be_kept_and_by_its_name_only_shortly(
    app: Flask, anybody: FlaskClient
) -> None:
    with app.test_request_context(base_url="https://localhost:8443"):
        address = static_files.address("bootstrap.css")
    for asked, status, for_ever in (
        (address, 200, True),
        (address.partition("?")[0], 200, False),
        ("/static/nothing.css?v=1", 404, False),
    ):
        answer = anybody.get(asked, buffered=True)
        assert (answer.status_code, "immutable" in answer.headers["Cache-Control"]) == (status, for_ever), (
            asked
        )
