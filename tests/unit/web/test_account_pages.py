"""The pages of accounts and of one's own account: what a form refuses, what is shown once, what asks first."""

import re
from typing import Any

from flask.testing import FlaskClient

from policies.vocabulary import Role
from tests.unit.web.browsing import HTML, enter, keeps_to_the_rules, see, send
from tests.unit.web.site_under_test import PASSPHRASE, PASSWORD
from vault.operations.keystore import unseal
from vault.operations.sessions import authenticate, login
from vault.site import Site

NEW = "an0ther long one"


def _unseal(site: Site) -> None:
    _, caller = authenticate(site, login(site, "web", "ada-admin", PASSWORD, "")["token"], "web", "")
    unseal(site, caller, bytearray(PASSPHRASE))


def test_a_new_account_is_made_and_every_mistake_on_the_way_is_one_sentence(
    site: Site, anybody: FlaskClient
) -> None:
    _unseal(site)
    browser = enter(anybody, "ada-admin")
    form = see(browser, "/accounts/new")
    keeps_to_the_rules(form)
    assert all(f'name="roles" value="{role}"' in form for role in Role)
    good: dict[str, Any] = {"name": "petra", "password": NEW, "again": NEW, "roles": ["operator", "auditor"]}
    for wrong, sentence in (
        ({"again": "else"}, "The two passwords are not the same."),
        ({"password": "short1", "again": "short1"}, "too short"),
        ({"roles": []}, "An account without a role may do nothing."),
        ({"roles": ["emperor"]}, "There is no role"),
        ({"name": "Petra P"}, "name"),
        ({"name": "olga-operator"}, "is taken"),
    ):
        answer = send(browser, "/accounts", **good | wrong)
        assert answer.status_code == 400, wrong
        assert sentence in answer.text
        assert NEW not in answer.text
        keeps_to_the_rules(answer.text)
        assert site.accounts.by_name("petra") is None
    assert 'value="operator" checked' in send(browser, "/accounts", **good | {"again": ""}).text
    assert send(browser, "/accounts", **good).status_code == 303
    page = see(browser, "/accounts")
    assert "The account petra is made." in page
    assert "auditor, operator" in page
    assert NEW not in page
    keeps_to_the_rules(page)


def test_disabling_asks_first_and_the_last_administrator_stays(site: Site, anybody: FlaskClient) -> None:
    browser = enter(anybody, "ada-admin")
    asked = see(browser, "/accounts/olga-operator/disable")
    assert "There is no way back" in asked
    assert site.accounts.named("olga-operator").active
    assert send(browser, "/accounts/olga-operator/disable").status_code == 303
    assert not site.accounts.named("olga-operator").active
    assert "This is your own account" in see(browser, "/accounts/ada-admin/disable")
    refused = send(browser, "/accounts/ada-admin/disable")
    assert refused.status_code == 409
    assert "This is the last active administrator." in refused.text
    see(browser, "/accounts/nobody/disable", 404)
    # Who has an account here is for those who may list them.
    operator = enter(anybody, "kim-custodian")
    see(operator, "/accounts/ada-admin/disable", 403)
    see(operator, "/accounts/nobody/disable", 403)


def test_who_may_only_look_finds_no_button_and_a_form_sent_all_the_same_is_denied(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "carl-compliance")
    page = see(browser, "/accounts")
    assert "olga-operator" in page
    assert "Disable" not in page
    assert "New account" not in page
    assert "The policy does not let you" in see(browser, "/accounts/new")
    assert send(browser, "/accounts/olga-operator/disable").status_code == 403
    assert site.accounts.named("olga-operator").active
    see(enter(browser, "olga-operator"), "/accounts", 403)


def test_a_token_is_shown_once_works_and_can_be_revoked(site: Site, anybody: FlaskClient) -> None:
    browser = enter(anybody, "olga-operator")
    made = send(browser, "/me/tokens", label="<b>nightly</b>", days="7")
    assert made.status_code == 200
    assert made.headers["Cache-Control"] == "no-store"
    found = re.search(r'id="new-token">([^<]+)</pre>', made.text)
    assert found is not None
    assert authenticate(site, found[1], "api", "")[0].account.name == "olga-operator"
    page = see(browser, "/me")
    assert found[1] not in page
    assert "&lt;b&gt;nightly&lt;/b&gt;" in page
    keeps_to_the_rules(page)
    revoke = re.search(r'action="(/me/tokens/[^"]+/revoke)"', page)
    assert revoke is not None
    assert send(browser, revoke[1]).status_code == 303
    assert "&lt;b&gt;nightly" not in see(browser, "/me")
    for label, days, sentence in (
        ("", "7", "needs a label"),
        ("x", "many", "is no number of days"),
        ("x", "4000", "1 to 365 days"),
        ("x", "-1", "is no number of days"),
    ):
        answer = send(browser, "/me/tokens", label=label, days=days)
        assert answer.status_code == 400
        assert sentence in answer.text


def test_a_wrong_present_password_is_told_and_does_not_end_the_session(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "olga-operator")
    answer = send(browser, "/me/password", old_password="wrong", new_password=NEW, again=NEW)
    assert answer.status_code == 400
    assert "The present password is wrong." in answer.text
    see(browser, "/guests")
    answer = send(browser, "/me/password", old_password=PASSWORD, new_password=NEW, again="else")
    assert "The two new passwords are not the same." in answer.text
    elsewhere = login(site, "web", "olga-operator", PASSWORD, "")["token"]
    assert (
        send(browser, "/me/password", old_password=PASSWORD, new_password=NEW, again=NEW).status_code == 303
    )
    assert "1 other session(s) of yours are ended" in see(browser, "/me")
    assert site.sessions.open_of("id-olga-operator")[0].channel == "web"
    assert elsewhere not in see(browser, "/me")


def test_another_session_of_ones_own_can_be_ended_and_nobody_elses(site: Site, anybody: FlaskClient) -> None:
    login(site, "cli", "olga-operator", PASSWORD, "")
    theirs = login(site, "cli", "carl-compliance", PASSWORD, "")["session"]
    browser = enter(anybody, "olga-operator")
    page = see(browser, "/me")
    assert page.count("this one") == 1
    end = re.findall(r'action="(/me/sessions/[^"]+/end)"', page)
    assert len(end) == 1
    assert send(browser, end[0]).status_code == 303
    assert len(site.sessions.open_of("id-olga-operator")) == 1
    before = site.log.head().size
    assert send(browser, f"/me/sessions/{theirs}/end").status_code == 404
    assert len(site.sessions.open_of("id-carl-compliance")) == 1
    assert all(theirs not in record.resource for record in site.reader.records(before))


def test_even_an_auditor_sees_their_own_account_and_a_program_logs_in_for_none_of_it(
    anybody: FlaskClient,
) -> None:
    see(enter(anybody, "anna-auditor"), "/me")
    browser = anybody.application.test_client()
    assert browser.get("/me", headers=HTML).status_code == 401
