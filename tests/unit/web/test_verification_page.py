"""The page of verification: a real verification in its own process, a log that was changed, an export."""

import html
import io
import re
import sqlite3
import tarfile
from hashlib import sha256

from flask.testing import FlaskClient

from audit.log.checkpoint import Checkpoint
from audit.log.note import VerifierKey
from tests.unit.web.browsing import enter, keeps_to_the_rules, see, send
from vault.site import Site


def _run(site: Site, browser: FlaskClient, path: str) -> str:
    """Press a button that begins a job; the job's id once it has ended."""
    answer = send(browser, path)
    assert answer.status_code == 303, answer.text
    job_id = answer.headers["Location"].removeprefix("/jobs/")
    for _ in range(300):
        job = site.jobs.get(job_id)
        if job.ended_at is not None:
            return job_id
        site.jobs.wait_for_change(job_id, job.revision, 0.2)
    raise AssertionError(job_id)


def test_a_verification_shows_each_check_and_its_history(site: Site, anybody: FlaskClient) -> None:
    browser = enter(anybody, "anna-auditor")
    page = see(browser, "/verification")
    assert "has not been verified yet" in page
    keeps_to_the_rules(page)
    _run(site, browser, "/verification/verify")
    page = see(browser, "/verification")
    assert "The log held" in page
    for check in ("root", "records", "clock"):
        assert f'data-label="Check">{check}</th>' in page
    assert site.reader.vkey in page
    keeps_to_the_rules(page)


def test_a_changed_record_shows_as_a_log_that_did_not_hold(site: Site, anybody: FlaskClient) -> None:
    browser = enter(anybody, "carl-compliance")
    site.log.checkpoint()
    with sqlite3.connect(site.settings.log_db) as thief:
        thief.execute("DROP TRIGGER body_update")
        thief.execute("UPDATE body SET bytes = CAST(replace(bytes, 'web', 'cli') AS BLOB) WHERE seq = 1")
    thief.close()
    _run(site, browser, "/verification/verify")
    page = see(browser, "/verification")
    assert "The log did not hold" in page
    assert re.search(r"did not hold</span> <code>records</code>", page)
    assert "log.verification_failed" in see(browser, "/findings")


def test_an_export_is_made_as_a_job_and_is_what_its_digest_says(site: Site, anybody: FlaskClient) -> None:
    browser = enter(anybody, "carl-compliance")
    _run(site, browser, "/verification/exports")
    page = see(browser, "/verification")
    link = re.search(r'href="(/verification/exports/[^"]+)"', page)
    assert link is not None
    with browser.get(link[1]) as answer:
        assert answer.status_code == 200
        sent = answer.data
    assert sha256(sent).hexdigest() in page
    with tarfile.open(fileobj=io.BytesIO(sent)) as tar:
        assert any(name.endswith("records.jsonl") for name in tar.getnames())
    assert browser.get("/verification/exports/none", headers={"Accept": "text/html"}).status_code == 404


def test_signing_the_head_shows_the_lines_to_note_down(site: Site, anybody: FlaskClient) -> None:
    browser = enter(anybody, "carl-compliance")
    size = site.log.head().size
    assert send(browser, "/verification/checkpoint").status_code == 303
    shown = re.search(
        r'<pre class="pick wrap" tabindex="0">(.*?)</pre>', see(browser, "/verification"), re.DOTALL
    )
    assert shown is not None
    # Whoever copies these lines has a note that verifies.
    note = html.unescape(shown[1]).encode()
    assert Checkpoint.verify(note, [VerifierKey.parse(site.reader.vkey)]).head.size > size


def test_who_may_not_read_the_log_gets_neither_page_nor_verification(anybody: FlaskClient) -> None:
    browser = enter(anybody, "olga-operator")
    see(browser, "/verification", 403)
    assert "/verification" not in see(browser, "/")
