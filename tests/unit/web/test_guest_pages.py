"""Guests' pages: filters, refresh, everything about one guest, and deleting it."""

import pytest
from flask.testing import FlaskClient
from sqlmodel import select

from tests.unit.web.people_at_browsers import HTML, PART, enter, send, unseal
from vault.model import Guest, LoginSession
from vault.site import Site


def _actions(site: Site, since: int) -> list[str]:
    return [site.reader.by_seq(seq).action for seq in range(since, site.log.head().size)]


@pytest.mark.parametrize(
    ("query", "shown", "left_out"),
    [
        ("state=running", "web-1", "clinic-db"),
        ("label=ephi", "clinic-db", "web-1"),
        ("name=clin", "clinic-db", "web-1"),
    ],
)
def test_filters_of_guests_live_in_the_address(
    anybody: FlaskClient, query: str, shown: str, left_out: str
) -> None:
    page = enter(anybody, "olga-operator").get(f"/guests?{query}", headers=HTML).text
    assert f'href="/guests/{shown}"' in page
    assert f'href="/guests/{left_out}"' not in page
    assert "1 more guest is left out by the filter" in page


def test_a_filter_that_nothing_fits_says_so_and_leads_back(anybody: FlaskClient) -> None:
    page = enter(anybody, "olga-operator").get("/guests?label=<b>", headers=HTML).text
    assert "No guest fits the filter" in page
    assert "<b>" not in page


def test_a_list_that_refreshes_itself_is_recorded_once_and_sends_only_its_part(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "olga-operator")
    since = site.log.head().size
    browser.get("/guests", headers=HTML)
    parts = [browser.get("/guests", headers=PART).text for _ in range(3)]
    assert _actions(site, since) == ["guest.list"]
    assert all("<html" not in part and 'id="guests"' in part for part in parts)


def test_a_guest_that_cannot_start_has_no_button_for_it_after_a_refresh_either(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "olga-operator")
    assert "/guests/clinic-db/start" not in browser.get("/guests/clinic-db", headers=PART).text
    unseal(site)
    assert "/guests/clinic-db/start" in browser.get("/guests/clinic-db", headers=PART).text


def test_a_page_that_refreshes_itself_does_not_keep_an_idle_session_alive(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "olga-operator")

    def idle() -> None:
        with site.database.session() as session:
            for login in session.exec(select(LoginSession)):
                login.last_seen_at = login.last_seen_at.replace(year=2020)
                login.idle_limit_s = 400 * 366 * 86_400  # whatever today is, not over yet

    def last_seen_year() -> int:
        with site.database.session() as session:
            return session.exec(select(LoginSession)).one().last_seen_at.year

    idle()
    assert browser.get("/guests", headers=PART).status_code == 200
    assert last_seen_year() == 2020
    browser.get("/guests", headers=HTML)
    assert last_seen_year() != 2020


def test_a_part_that_is_asked_for_without_a_session_reloads_the_whole_page(anybody: FlaskClient) -> None:
    answer = anybody.get("/guests", headers=PART)
    assert answer.status_code == 401
    assert answer.headers["HX-Refresh"] == "true"
    assert "HX-Refresh" not in anybody.get("/guests", headers=HTML).headers


def test_one_guest_shows_its_accesses_with_names_to_those_who_may_see_them(anybody: FlaskClient) -> None:
    enter(anybody, "olga-operator").get("/guests/clinic-db", headers=HTML)
    page = enter(anybody, "carl-compliance").get("/guests/clinic-db", headers=HTML).text
    assert "Last accesses" in page
    assert '<td data-label="Who">olga-operator</td>' in page
    assert "Last accesses" not in enter(anybody, "ada-admin").get("/guests/clinic-db", headers=HTML).text


def test_one_guest_shows_what_was_found_about_it_and_nothing_of_others(
    site: Site, anybody: FlaskClient
) -> None:
    for guest in ("guest-1", "guest-2"):
        site.findings.open(
            "guest.autostart_failed",
            resource=f"guest:{guest}",
            sentence=f"<i>A thing of {guest}",
            remedy="Mend it.",
        )
    page = enter(anybody, "olga-operator").get("/guests/clinic-db", headers=HTML).text
    assert "&lt;i&gt;A thing of guest-2" in page
    assert "A thing of guest-1" not in page


def test_deleting_asks_for_the_name_and_a_wrong_one_deletes_nothing(site: Site, anybody: FlaskClient) -> None:
    browser = enter(anybody, "olga-operator")
    answer = send(browser, "/guests/clinic-db", "/guests/clinic-db/delete", {"typed": "clinic"})
    assert answer.status_code == 400
    assert "nothing was deleted" in answer.text
    with site.database.session() as session:
        assert session.get_one(Guest, "guest-2").state == "ready"
    unseal(site)
    answer = send(browser, "/guests/clinic-db", "/guests/clinic-db/delete", {"typed": "clinic-db"})
    assert answer.status_code == 303
    page = browser.get("/guests", headers=HTML).text
    assert "The guest clinic-db and the keys to its disks were deleted." in page
    assert 'href="/guests/clinic-db"' not in page


def test_a_running_guest_is_not_deleted_whatever_was_typed(anybody: FlaskClient) -> None:
    browser = enter(anybody, "olga-operator")
    assert "cannot be deleted: stop it first" in browser.get("/guests/web-1", headers=HTML).text
    answer = send(browser, "/guests/web-1", "/guests/web-1/delete", {"typed": "web-1"})
    assert answer.status_code == 409
    assert "is running" in answer.text


def test_whoever_may_not_delete_sees_no_way_to(anybody: FlaskClient) -> None:
    page = enter(anybody, "carl-compliance").get("/guests/clinic-db", headers=HTML).text
    assert "/delete" not in page
    assert (
        send(anybody, "/guests/clinic-db", "/guests/clinic-db/delete", {"typed": "clinic-db"}).status_code
        == 403
    )
