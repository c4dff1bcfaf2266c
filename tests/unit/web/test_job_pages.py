"""Jobs' pages: whose are shown to whom, and progress that reaches the page as pieces of it."""

import threading

from flask.testing import FlaskClient

from policies.errors import StrongroomError
from tests.unit.web.people_at_browsers import HTML, PART, enter, send
from tests.unit.web.site_under_test import start_work
from vault.jobs import Progress
from vault.model import ENDED
from vault.site import Site


def _finished(site: Site, name: str, subject: str, error: StrongroomError | None = None) -> str:
    def work(_progress: Progress) -> dict[str, object]:
        if error is not None:
            raise error
        return {}

    job = start_work(site, work, name=name, subject=subject)
    while job.state not in ENDED:
        job = site.jobs.wait_for_change(job.id, job.revision, 0.1)
    return job.id


def test_people_see_their_own_jobs_and_those_who_oversee_see_all(site: Site, anybody: FlaskClient) -> None:
    theirs = _finished(site, "olga-operator", "web-1")
    other = _finished(site, "ada-admin", "web-2")
    page = enter(anybody, "olga-operator").get("/jobs", headers=HTML).text
    assert f'href="/jobs/{theirs}"' in page
    assert other not in page
    assert anybody.get(f"/jobs/{other}", headers=HTML).status_code == 404
    page = enter(anybody, "carl-compliance").get("/jobs", headers=HTML).text
    assert f'href="/jobs/{theirs}"' in page
    assert f'href="/jobs/{other}"' in page
    assert '<td data-label="By">olga-operator</td>' in page
    assert theirs not in anybody.get("/jobs?whose=mine", headers=HTML).text


def test_jobs_are_filtered_by_state_and_the_list_refreshes_its_part(site: Site, anybody: FlaskClient) -> None:
    done = _finished(site, "olga-operator", "web-1")
    failed = _finished(site, "olga-operator", "web-1", StrongroomError("It <b>broke</b>."))
    browser = enter(anybody, "olga-operator")
    part = browser.get("/jobs?state=failed", headers=PART).text
    assert "<html" not in part
    assert failed in part
    assert done not in part
    assert "It &lt;b&gt;broke&lt;/b&gt;." in part


def test_progress_comes_as_pieces_of_the_page_and_the_end_is_told(site: Site, anybody: FlaskClient) -> None:
    go_on = threading.Event()

    def work(progress: Progress) -> dict[str, object]:
        progress(40, "Half\nof <i>it</i>.")
        go_on.wait(20)
        return {}

    job = start_work(site, work, subject="web-9")
    browser = enter(anybody, "olga-operator")
    page = browser.get(f"/jobs/{job.id}", headers=HTML).text
    assert f'sse-connect="/jobs/{job.id}/events"' in page
    assert "You may close this page" in page
    answer = browser.get(f"/jobs/{job.id}/events", headers={"Accept": "text/event-stream"})
    text = ""
    for chunk in answer.response:
        text += chunk.decode() if isinstance(chunk, bytes) else chunk
        if "40 %" in text:
            go_on.set()
    answer.close()
    events = [event for event in text.split("\n\n") if event and not event.startswith(":")]
    assert all(
        line.startswith(("id: ", "event: ", "data:", "retry: "))
        for event in events
        for line in event.split("\n")
    )
    assert "of &lt;i&gt;it&lt;/i&gt;." in text
    assert events[-1].startswith("event: ended")
    assert "Done." in events[-2]


def test_a_failed_job_says_why_and_what_to_do(site: Site, anybody: FlaskClient) -> None:
    job = _finished(
        site, "olga-operator", "web-1", StrongroomError("It cannot be done.", "Try `strongroom doctor`.")
    )
    page = enter(anybody, "olga-operator").get(f"/jobs/{job}", headers=HTML).text
    assert "It cannot be done." in page
    assert "<code>strongroom doctor</code>" in page
    assert "sse-connect" not in page


def test_a_job_is_cancelled_by_its_button_where_that_is_safe_and_by_those_who_may(
    site: Site, anybody: FlaskClient
) -> None:
    go_on = threading.Event()

    def work(progress: Progress) -> dict[str, object]:
        for nth in range(200):
            progress(nth // 3, "Working.")  # raises once it is to end
            if go_on.wait(0.1):
                break
        return {}

    job = start_work(site, work, cancellable=True)
    while job.state == "waiting":
        job = site.jobs.wait_for_change(job.id, job.revision, 0.1)
    address = f"/jobs/{job.id}/cancel"
    assert address not in enter(anybody, "carl-compliance").get(f"/jobs/{job.id}", headers=HTML).text
    assert send(anybody, "/", address).status_code == 403
    browser = enter(anybody, "olga-operator")
    assert f'action="{address}"' in browser.get(f"/jobs/{job.id}", headers=HTML).text
    assert send(browser, f"/jobs/{job.id}", address).status_code == 303
    while job.state not in ENDED:
        job = site.jobs.wait_for_change(job.id, job.revision, 0.1)
    go_on.set()
    page = browser.get(f"/jobs/{job.id}", headers=HTML).text
    assert '<span class="pill quiet">cancelled</span>' in page
    assert address not in page
    assert send(browser, "/", address).status_code == 409
