"""The pages: what each role sees, that nothing is inline, and that what is shown is text."""

import re
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient

from policies.vocabulary import Action, EntityRef, EntityType
from tests.unit.web.site_under_test import PASSPHRASE, PASSWORD, PEOPLE, start_work
from vault.gate import Caller
from vault.model import ENDED, Guest
from vault.operations.keystore import unseal
from vault.site import Site

HTML = {"Accept": "text/html"}
OWN = {"Referer": "https://localhost:8443/"}


class Page(HTMLParser):
    """What of a page matters for its safety and for people who do not see it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of each element of this kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def _token_of(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def _enter(browser: FlaskClient, name: str) -> FlaskClient:
    data = {"name": name, "password": PASSWORD, "csrf_token": _token_of(browser.get("/login").text)}
    assert browser.post("/login", data=data, headers=OWN).status_code == 303
    return browser


def _record_of_a_denial(browser: FlaskClient) -> str:
    page = browser.get("/log?kind=denied", headers=HTML).text
    found = re.search(r'href="(/log/\d+)"', page)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("name", PEOPLE)
def test_everybody_sees_the_overview_and_no_page_they_may_not_open(anybody: FlaskClient, name: str) -> None:
    browser = _enter(anybody, name)
    home = browser.get("/", headers=HTML)
    assert home.status_code == 200
    assert name in home.text
    linked = set(
        re.findall(r'aria-label="Parts of the site".*?</nav>', home.text, re.DOTALL)[0].split('href="')[1:]
    )
    for path in ("/", "/guests", "/log"):
        shown = any(link.startswith(f'{path}"') for link in linked)
        assert browser.get(path, headers=HTML).status_code == (200 if shown else 403), path


def test_the_overview_refuses_nobody_anything(site: Site, anybody: FlaskClient) -> None:
    # A page that asks for what its reader may not see would fill the log with denials.
    for name in PEOPLE:
        _enter(anybody, name).get("/", headers=HTML)
        anybody.delete_cookie("__Host-strongroom", domain="localhost")
    kinds = [site.reader.by_seq(seq).kind for seq in range(site.log.head().size)]
    assert "denied" not in kinds


def test_a_new_site_tells_its_administrator_what_to_do_next_and_nobody_else(
    anybody: FlaskClient,
) -> None:
    page = _enter(anybody, "ada-admin").get("/", headers=HTML).text
    assert (
        "2 of 4 done" in page
    )  # there are an operator and guests; the store is sealed, and there is no image
    assert "strongroom image build debian-12" in page
    anybody.delete_cookie("__Host-strongroom", domain="localhost")
    assert "First steps" not in _enter(anybody, "olga-operator").get("/", headers=HTML).text


def test_the_overview_shows_each_role_what_it_looks_for(anybody: FlaskClient) -> None:
    _enter(anybody, "olga-operator").get("/log", headers=HTML)  # denied, which the officer then sees
    for name, shown, hidden in (
        ("olga-operator", ("Capacity", "Create one"), ("Denied accesses", "Accounts</h2>")),
        ("carl-compliance", ("Denied accesses a day", "Last verification", "Latest reports"), ("Capacity",)),
        ("anna-auditor", ("Verify without trusting us", "Last verification"), ("Capacity", "Create one")),
        ("ada-admin", ("Accounts</h2>", "First steps"), ("Denied accesses", "Capacity")),
    ):
        anybody.delete_cookie("__Host-strongroom", domain="localhost")
        page = _enter(anybody, name).get("/", headers=HTML).text
        for words in shown:
            assert words in page, (name, words)
        for words in hidden:
            assert words not in page, (name, words)


def test_the_overview_that_is_looked_at_again_and_again_is_recorded_once(
    site: Site, anybody: FlaskClient
) -> None:
    browser = _enter(anybody, "carl-compliance")
    browser.get("/", headers=HTML)
    size = site.log.head().size
    for _ in range(3):
        browser.get("/", headers=HTML)
    assert site.log.head().size == size


def test_a_wrong_password_shows_the_form_again_with_the_sentence(anybody: FlaskClient) -> None:
    data = {"name": "olga-operator", "password": "wrong", "csrf_token": _token_of(anybody.get("/login").text)}
    answer = anybody.post("/login", data=data, headers=OWN)
    assert answer.status_code == 401
    assert "Name or password is wrong" in answer.text
    assert 'value="olga-operator"' in answer.text
    assert 'wrong"' not in answer.text


def test_a_session_that_ended_shows_the_form_and_says_why(site: Site, anybody: FlaskClient) -> None:
    browser = _enter(anybody, "olga-operator")
    admin = site.accounts.named("olga-operator")
    with site.database.session() as session:
        session.get_one(type(admin), admin.id).active = False
    page = browser.get("/guests", headers=HTML)
    assert page.status_code == 401
    assert "Your session was ended." in page.text
    assert browser.get("/guests", headers=HTML).text.count("Your session was ended.") == 0


def test_only_buttons_that_the_policy_would_let_through_are_shown(site: Site, anybody: FlaskClient) -> None:
    page = _enter(anybody, "olga-operator").get("/guests", headers=HTML).text
    assert 'action="/guests/clinic-db/start"' not in page  # nor what a sealed key store would refuse
    unseal(site, Caller(EntityRef(EntityType.ACCOUNT, "id-ada-admin"), "api"), bytearray(PASSPHRASE))
    anybody.delete_cookie("__Host-strongroom", domain="localhost")
    page = _enter(anybody, "olga-operator").get("/guests", headers=HTML).text
    assert 'action="/guests/web-1/stop"' in page
    assert 'action="/guests/clinic-db/start"' in page
    assert 'action="/guests/web-1/start"' not in page
    anybody.delete_cookie("__Host-strongroom", domain="localhost")
    page = _enter(anybody, "anna-auditor").get("/guests", headers=HTML).text
    assert "web-1" in page
    assert "/stop" not in page
    assert "/start" not in page


def test_a_button_starts_a_job_and_leads_to_it(site: Site, anybody: FlaskClient) -> None:
    browser = _enter(anybody, "olga-operator")
    token = _token_of(browser.get("/guests", headers=HTML).text)
    answer = browser.post("/guests/web-1/stop", data={"csrf_token": token}, headers=OWN)
    assert answer.status_code == 303
    job_id = answer.headers["Location"].removeprefix("/jobs/")
    while (job := site.jobs.get(job_id)).state not in ENDED:
        site.jobs.wait_for_change(job_id, job.revision, 0.2)
    page = browser.get(f"/jobs/{job_id}", headers=HTML).text
    assert "Done." in page
    assert 'href="/guests/web-1"' in page


def test_a_guest_page_shows_machine_and_labels_and_links_its_accesses_for_those_who_may(
    anybody: FlaskClient,
) -> None:
    page = _enter(anybody, "carl-compliance").get("/guests/clinic-db", headers=HTML).text
    assert "768 MiB" in page
    assert "ephi" in page
    assert 'href="/log?resource=guest:guest-2"' in page.replace("%3A", ":")
    anybody.delete_cookie("__Host-strongroom", domain="localhost")
    assert "/log?" not in _enter(anybody, "olga-operator").get("/guests/clinic-db", headers=HTML).text


def test_filters_live_in_the_address_and_the_next_page_keeps_them(anybody: FlaskClient) -> None:
    browser = _enter(anybody, "carl-compliance")
    for nth in range(55):
        browser.get(f"/guests?name={nth}", headers=HTML)
    page = browser.get("/log?action=guest.list&since=2020-01-01&until=2099-12-31", headers=HTML).text
    assert page.count('<td data-label="No.">') == 50
    assert '<option value="guest.list" selected>' in page
    older = re.search(r'href="(/log\?[^"]+)" rel="next">Older', page)
    assert older is not None
    target = older[1].replace("&amp;", "&")
    assert "action=guest.list" in target
    second = browser.get(target, headers=HTML).text
    assert second.count('<td data-label="No.">') == 5
    assert "Newest" in second


def test_a_filter_that_cannot_be_read_is_a_page_with_a_sentence(anybody: FlaskClient) -> None:
    answer = _enter(anybody, "carl-compliance").get("/log?since=yesterday", headers=HTML)
    assert answer.status_code == 400
    assert "is not a time" in answer.text


def test_a_record_page_shows_who_decided_why_and_what_lies_next_to_it(anybody: FlaskClient) -> None:
    _enter(anybody, "olga-operator").get("/log", headers=HTML)
    anybody.delete_cookie("__Host-strongroom", domain="localhost")
    browser = _enter(anybody, "anna-auditor")
    page = browser.get(_record_of_a_denial(browser), headers=HTML).text
    assert "account:id-olga-operator" in page
    assert "log.list" in page
    assert "no policy permits it" in page
    assert "&#34;channel&#34;: &#34;web&#34;" in page
    assert "Records next to it" in page
    allowed = re.search(
        r'href="(/log/\d+)"', browser.get("/log?action=log.list&decision=allow", headers=HTML).text
    )
    assert allowed is not None
    page = browser.get(allowed[1], headers=HTML).text
    assert "@id(&#34;base.auditor-reads&#34;)" in page
    assert browser.get("/log/999999", headers=HTML).status_code == 404


def test_nothing_on_a_page_is_inline_and_every_form_carries_its_token(
    site: Site, anybody: FlaskClient
) -> None:
    site.findings.open("host.unprotected", resource="host:host", sentence="A thing.", remedy="Mend it.")
    login = anybody.get("/login", headers=HTML).text
    browser = _enter(anybody, "ada-admin")
    job = start_work(site, lambda _progress: {}, name="ada-admin", action=Action.IMAGE_BUILD)
    pages = [
        login,
        *(
            browser.get(path, headers=HTML).text
            for path in ("/", "/guests", "/guests/web-1", "/new-guest", "/jobs", f"/jobs/{job.id}")
        ),
    ]
    anybody.delete_cookie("__Host-strongroom", domain="localhost")
    browser = _enter(anybody, "carl-compliance")
    pages += [browser.get(path, headers=HTML).text for path in ("/log", "/log/0", "/nowhere")]
    for text in pages:
        page = Page(text)
        assert all(script.get("src") for script in page.all("script"))
        assert not page.all("style")
        for tag, attributes in page.tags:
            assert "style" not in attributes, tag
            assert not any(name.startswith("on") for name in attributes), tag
            for name in ("src", "href", "action"):
                assert (attributes.get(name) or "/").startswith(("/", "#")), (tag, attributes)
        assert text.count('method="post"') == text.count('name="csrf_token"')


def test_pages_can_be_read_without_seeing_them(anybody: FlaskClient) -> None:
    browser = _enter(anybody, "carl-compliance")
    for path in ("/", "/guests", "/guests/web-1", "/jobs", "/log", "/log/0"):
        page = Page(browser.get(path, headers=HTML).text)
        assert page.all("html")[0]["lang"] == "en"
        assert len(page.all("h1")) == 1
        assert len(page.all("main")) == 1
        labels = {attributes.get("for") for attributes in page.all("label")}
        for field in page.all("input") + page.all("select"):
            assert field.get("type") == "hidden" or field.get("id") in labels, (path, field)
        assert all("scope" in heading for heading in page.all("th")), path
        assert all("alt" in image for image in page.all("img"))


def test_what_a_guest_is_called_is_text_and_no_markup(site: Site, anybody: FlaskClient) -> None:
    with site.database.session() as session:
        session.get_one(Guest, "guest-1").labels = ["<script>alert(1)</script>"]
    page = _enter(anybody, "olga-operator").get("/guests", headers=HTML).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
