"""The pages of the log: what they show of names, filters and decisions, and what of that is recorded."""

import html
import json
import re
from hashlib import sha256

from flask.testing import FlaskClient

from tests.unit.web.browsing import HTML, enter, keeps_to_the_rules, see
from vault.site import Site


def test_names_are_shown_to_those_who_may_see_them_and_stay_out_of_the_log(
    site: Site, anybody: FlaskClient
) -> None:
    enter(anybody, "olga-operator").get("/guests/clinic-db", headers=HTML)
    page = see(enter(anybody, "carl-compliance"), "/log")
    assert '<span title="account:id-olga-operator">olga-operator</span>' in page
    assert '<span title="guest:guest-2">clinic-db</span>' in page
    for raw in site.reader.raw():
        assert b"olga" not in raw.replace(b"id-olga-operator", b"")
        assert b"clinic-db" not in raw


def test_a_filter_takes_a_name_and_an_unknown_one_is_told_without_losing_what_was_typed(
    anybody: FlaskClient,
) -> None:
    enter(anybody, "olga-operator").get("/guests/clinic-db", headers=HTML)
    browser = enter(anybody, "carl-compliance")
    page = see(browser, "/log?resource=clinic-db&principal=account:id-olga-operator")
    assert page.count('data-label="No."') == 1
    assert "guest.show" in page
    assert '<option value="account:id-olga-operator" selected>olga-operator</option>' in page
    page = see(browser, "/log?resource=nobodys-guest&kind=access", 400)
    assert "no account or guest &#39;nobodys-guest&#39; that you may see" in page
    assert 'value="nobodys-guest"' in page
    assert '<option value="access" selected>' in page


def test_filters_that_cannot_be_read_are_one_sentence_and_text(anybody: FlaskClient) -> None:
    browser = enter(anybody, "carl-compliance")
    for query, sentence in (
        ("since=yesterday", "is not a time"),
        ("since=2026-01-01T10:00:00", "has no time zone"),
        ("kind=unkind", "no kind of record"),
        ("resource=nothing:1", "names nothing that a record can be about"),
        ("until=%3Cscript%3Ealert(1)%3C/script%3E", "is not a time"),
    ):
        page = see(browser, f"/log?{query}", 400)
        assert sentence in page, query
        assert "<script>alert" not in page
        keeps_to_the_rules(page)


def test_a_page_that_follows_the_log_by_itself_is_recorded_once(site: Site, anybody: FlaskClient) -> None:
    browser = enter(anybody, "carl-compliance")
    page = see(browser, "/log?follow=yes&kind=denied")
    address = re.search(r'hx-get="([^"]+)"', page)
    assert address is not None
    again = HTML | {"HX-Request": "true"}
    sizes = []
    for _ in range(3):
        rows = browser.get(html.unescape(address[1]), headers=again)
        assert rows.status_code == 200
        assert "<html" not in rows.text
        sizes.append(site.log.head().size)
    assert sizes[0] == sizes[1] == sizes[2]
    browser.get("/log?follow=yes&kind=access", headers=again)  # another filter is another view
    assert site.log.head().size == sizes[0] + 1


def test_the_picture_counts_what_the_filters_let_through_and_its_bars_lead_to_their_hours(
    anybody: FlaskClient,
) -> None:
    refused = enter(anybody, "olga-operator")
    for _ in range(3):
        refused.get("/log", headers=HTML)
    browser = enter(anybody, "carl-compliance")
    page = see(browser, "/log?principal=account:id-olga-operator&action=log.list")
    assert "3 records by hour: 0 allowed, 3 refused, 0 of other kinds" in page
    bar = re.search(r'<a href="(/log\?[^"]+since=[^"]+)">\s*<title>', page)
    assert bar is not None
    assert see(browser, html.unescape(bar[1])).count('data-label="No."') == 3


def test_a_record_page_says_in_a_sentence_who_decided_and_shows_the_bytes_that_were_hashed(
    site: Site, anybody: FlaskClient
) -> None:
    enter(anybody, "olga-operator").get("/log", headers=HTML)
    browser = enter(anybody, "carl-compliance")
    denied = next(record for record in site.reader.records() if record.kind == "denied")
    page = see(browser, f"/log/{denied.seq}")
    assert "olga-operator asked for log.list on the log and was denied: no policy permits it." in page
    assert "none yet: the next one covers it" in page or "the one over" in page
    shown = re.search(r'<pre class="pick wrap" tabindex="0">(.*?)</pre>', page, re.DOTALL)
    assert shown is not None
    written = html.unescape(shown[1]).encode()
    assert json.loads(written)["id"] == denied.id
    assert sha256(b"\0" + written).hexdigest() in page
    site.log.checkpoint()
    assert "the one over" in see(browser, f"/log/{denied.seq}")
    allowed = next(record for record in site.reader.records() if record.action == "guest.list")
    page = see(browser, f"/log/{allowed.seq}")
    assert "and was allowed: base." in page
    assert "permits it. It ended well." in page
    keeps_to_the_rules(page)


def test_the_texts_on_a_record_page_are_those_of_the_bundle_that_decided(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "anna-auditor")
    seq = next(record.seq for record in site.reader.records() if record.action == "session.login")
    files = dict(site.bundle.files)
    assert "@id(&#34;base.log-in&#34;)" in see(browser, f"/log/{seq}")
    # What is in force changes; what decided then does not.
    base = files["base.cedar"].replace(b'@id("base.log-in")', b'@id("base.log-in-anew")')
    site.bundle = type(site.bundle)(files | {"base.cedar": base})
    page = see(browser, f"/log/{seq}")
    assert "@id(&#34;base.log-in&#34;)" in page
    assert "base.log-in-anew" not in page
