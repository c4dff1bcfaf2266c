"""Log, verification, reports, findings, accounts, keys, policy and health, with a real daemon and a real guest."""

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.running_site import GUEST, PASSPHRASE, PASSWORD, RunningSite
from vault.database import Database
from vault.findings import Findings

Visit = Callable[..., Page]
pytestmark = pytest.mark.real


def test_the_log_is_searched_by_names_although_it_holds_none(visit: Visit) -> None:
    page = visit("carl-compliance")
    page.goto("/log")
    page.select_option("#principal", label="olga-operator")
    page.fill("#resource", GUEST)
    page.get_by_role("button", name="Filter").click()
    first = page.locator("tbody tr").first
    expect(first).to_contain_text("olga-operator")
    expect(first).to_contain_text(GUEST)
    assert "principal=account%3A" in page.url
    # A bar of the picture leads to its hour.
    page.locator("figure.activity a").last.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("since="))
    expect(page.locator("tbody tr").first).to_contain_text(GUEST)


def test_a_log_that_is_followed_shows_a_new_record_by_itself(visit: Visit, running_site: RunningSite) -> None:
    page = visit("carl-compliance")
    page.goto("/log?action=image.list")
    page.get_by_role("link", name="Follow").click()
    page.wait_for_url(re.compile("follow=yes"))
    before = page.locator("tbody tr").count()
    running_site.run("image", "list", person="olga-operator")
    expect(page.locator("tbody tr")).to_have_count(before + 1, timeout=20_000)


def test_the_record_of_a_guests_making_tells_decision_policy_outcome_and_place(visit: Visit) -> None:
    page = visit("anna-auditor")
    page.goto("/log?action=guest.create&kind=intent")
    page.locator("tbody a").first.click()
    expect(page.locator(".lead-in")).to_have_text(
        re.compile(
            rf"olga-operator asked for guest.create on {GUEST}.* and was allowed: base.operator-guests"
        )
    )
    page.get_by_text("The record's bytes, as they were hashed").click()
    hashed = sha256(b"\0" + page.locator("pre.pick").last.inner_text().encode()).hexdigest()
    expect(page.get_by_text(hashed)).to_be_visible()


def test_the_log_is_verified_signed_and_taken_away(visit: Visit) -> None:
    page = visit("anna-auditor")
    page.goto("/verification")
    page.get_by_role("button", name="Verify the log").click()
    page.get_by_role("link", name="See what was checked").click(timeout=60_000)
    expect(page.get_by_text("The log held")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^root"))).to_contain_text("holds")
    page.get_by_role("button", name="Export the log").click()
    page.get_by_role("link", name="Download the export").click(timeout=60_000)
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("^Download")).first.click()
    assert Path(download.value.path()).stat().st_size > 10_000


def test_a_report_is_asked_for_and_its_files_are_taken(visit: Visit) -> None:
    page = visit("carl-compliance")
    page.goto("/reports")
    page.select_option("#period", "own")
    page.fill("#from", "2026-02-02")
    page.fill("#to", "2026-02-01")
    page.get_by_role("button", name="Make the report").click()
    expect(page.get_by_role("alert")).to_contain_text("The period ends before it begins.")
    expect(page.locator("#from")).to_have_value("2026-02-02")
    page.select_option("#period", "this-year")
    page.get_by_role("button", name="Make the report").click()
    page.get_by_role("link", name="Go to the reports").click(timeout=120_000)
    entry = page.locator(".entries > li").first
    expect(entry).to_contain_text("HIPAA Security Rule")
    expect(entry).to_contain_text("satisfied")
    with page.expect_download() as download:
        entry.get_by_role("link", name=re.compile(r"\.pdf$")).click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF")


def test_an_account_is_made_and_disabled_after_a_question(visit: Visit) -> None:
    page = visit("ada-admin")
    page.goto("/accounts")
    page.get_by_role("link", name="New account").click()
    page.fill("#name", "temporary-tom")
    page.get_by_label("Operator", exact=True).check()
    page.fill("#password", PASSWORD)
    page.fill("#again", "not the same 1")
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_role("alert")).to_contain_text("The two passwords are not the same.")
    expect(page.get_by_label("Operator", exact=True)).to_be_checked()
    expect(page.locator("#password")).to_have_value("")
    page.fill("#password", PASSWORD)
    page.fill("#again", PASSWORD)
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_role("status")).to_contain_text("The account temporary-tom is made.")
    visit("temporary-tom")
    page.get_by_role("row", name=re.compile("temporary-tom")).get_by_role("link", name="Disable").click()
    page.get_by_role("button", name="Disable temporary-tom").click()
    expect(page.get_by_role("row", name=re.compile("temporary-tom"))).to_contain_text("disabled")


def test_a_token_is_shown_once_and_never_again(visit: Visit) -> None:
    page = visit("olga-operator")
    page.get_by_role("link", name="olga-operator").click()
    page.fill("#label", "nightly backup")
    page.get_by_role("button", name="Make a token").click()
    token = page.locator("#new-token").inner_text()
    assert len(token) > 40
    page.goto("/me")
    assert token not in page.content()
    page.get_by_role("button", name="Revoke nightly backup").click()
    expect(page.get_by_role("status")).to_contain_text("The token is revoked")


def test_the_key_store_is_sealed_after_a_question_and_unsealed_by_the_page(visit: Visit) -> None:
    page = visit("ada-admin")
    page.goto("/keys")
    page.get_by_text("Seal…").click()
    page.get_by_role("button", name="Seal the key store now").click()
    expect(page.locator(".title")).to_contain_text("sealed")
    page.fill("#passphrase", "not this one")
    page.get_by_role("button", name="Unseal").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.wait_for_timeout(1500)  # a wrong passphrase makes the next try wait
    page.fill("#passphrase", PASSPHRASE)
    page.get_by_role("button", name="Unseal").click()
    expect(page.locator(".title")).to_contain_text("unsealed")


def test_the_officer_says_that_they_know_of_a_finding_and_closes_it(
    visit: Visit, running_site: RunningSite
) -> None:
    found = _finding(running_site)
    page = visit("carl-compliance")
    page.goto("/findings")
    page.get_by_role("link", name="A disk cannot be measured for this test.").click()
    page.get_by_label("What is being done about it").fill("The disk is being <i>looked</i> at.")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("status")).to_contain_text("you know of this finding")
    expect(page.locator(".said")).to_contain_text("The disk is being <i>looked</i> at.")
    page.get_by_label("Why it is over").fill("It was this test.")
    page.get_by_role("button", name="Close the finding").click()
    expect(page.locator(f'[id="{found}"]')).to_have_count(0)
    page.select_option("#state", "closed")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(f'[id="{found}"]')).to_contain_text("It was this test.")
    assert "state=closed" in page.url


def test_health_and_policy_say_how_it_stands_and_what_decides(visit: Visit) -> None:
    page = visit("ada-admin")
    page.goto("/health")
    expect(page.get_by_role("row", name=re.compile("Accelerator"))).to_contain_text(re.compile("kvm|tcg"))
    page.goto("/policy")
    policy = page.locator("li", has=page.get_by_role("heading", name="base.operator-guests", exact=True))
    expect(policy).to_contain_text("Lets the role operator do guest.list")
    policy.get_by_text("Its text").click()
    expect(policy.locator("pre")).to_contain_text("permit (")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_of_evidence_fits_its_window(
    visit: Visit, running_site: RunningSite, pictures: Path, scheme: str, width: int
) -> None:
    finding = _finding(running_site)
    for person, paths in {
        "carl-compliance": (
            "/verification",
            "/reports",
            "/findings",
            f"/findings/{finding}",
            "/policy",
            "/me",
        ),
        "ada-admin": ("/accounts", "/accounts/new", "/accounts/olga-operator/disable", "/keys", "/health"),
    }.items():
        page = visit(person, color_scheme=scheme, viewport={"width": width, "height": 844})
        for path in paths:
            page.goto(path)
            page.screenshot(
                path=pictures
                / f"{path.replace(finding, 'one').strip('/').replace('/', '-')}-{scheme}-{width}.png",
                full_page=True,
            )
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def _finding(site: RunningSite) -> str:
    """A finding as a check of the daemon writes it, by the same code; its id."""
    database = Database(site.data_dir / "state.db")
    try:
        return (
            Findings(database)
            .open(
                "disk.unreadable",
                resource="host:host",
                sentence="A disk cannot be measured for this test.",
            )
            .id
        )
    finally:
        database.close()
