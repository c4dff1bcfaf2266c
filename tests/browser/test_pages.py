"""The pages as a person meets them, with a real daemon, a real guest and a real browser."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, expect

from tests.browser.running_site import GUEST, RunningSite

Visit = Callable[..., Page]
pytestmark = pytest.mark.real


def test_a_wrong_password_is_told_and_the_right_one_leads_to_the_overview(visit: Visit) -> None:
    page = visit(None)
    page.goto("/guests")
    page.fill("#name", "olga-operator")
    page.fill("#password", "not this 1")
    page.click("button[type=submit]")
    expect(page.get_by_role("alert")).to_contain_text("Name or password is wrong")
    expect(page.locator("#name")).to_have_value("olga-operator")
    expect(page.locator("#password")).to_have_value("")
    page.fill("#password", "a long passw0rd")
    page.click("button[type=submit]")
    expect(page.get_by_role("heading", level=1)).to_have_text("Guests")


def test_the_overview_says_how_the_site_stands(visit: Visit) -> None:
    page = visit("olga-operator")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    for card, figure in (("Key store", "Unsealed"), ("Guests", "of 1 running"), ("Audit log", "records")):
        expect(page.locator("section", has=page.get_by_role("heading", name=card))).to_contain_text(figure)


def test_what_was_denied_is_drawn_for_the_officer(visit: Visit) -> None:
    visit("olga-operator").goto("/log")  # which operators may not read
    page = visit("carl-compliance")
    chart = page.get_by_role("img", name=re.compile("Denied accesses a day"))
    expect(chart).to_be_visible()
    expect(page.get_by_role("link", name="All that was denied")).to_be_visible()


def test_a_guest_is_started_and_stopped_by_button_while_its_progress_is_shown(
    visit: Visit, running_site: RunningSite
) -> None:
    page = visit("olga-operator")
    page.goto("/guests")
    list_left_open = visit("carl-compliance")
    list_left_open.goto("/guests")
    page.get_by_role("button", name=f"Start {GUEST}").click()
    # The page follows the job by events and shows the end by itself.
    expect(page.get_by_text("Done.")).to_be_visible(timeout=60_000)
    # And a list that somebody left open shows it without being loaded again.
    row = list_left_open.get_by_role("row", name=re.compile(GUEST))
    expect(row).to_contain_text("running", timeout=20_000)
    assert running_site.run("guest", "show", GUEST, person="olga-operator")["state"] == "running"
    page.get_by_role("link", name=f"Go to {GUEST}").click()
    expect(page.locator(".title")).to_contain_text("running")
    expect(page.locator("table").first).to_contain_text("aes-256-xts-plain64")
    page.get_by_role("button", name=f"Stop {GUEST} by force").click()
    expect(page.get_by_text("Done.")).to_be_visible(timeout=60_000)
    assert running_site.run("guest", "show", GUEST, person="olga-operator")["state"] == "stopped"


def test_without_any_script_the_page_of_a_job_reloads_until_its_end(
    visit: Visit, running_site: RunningSite
) -> None:
    page = visit("olga-operator", java_script_enabled=False)
    page.goto(f"/guests/{GUEST}")
    page.get_by_role("button", name=f"Start {GUEST}").click()
    expect(page.get_by_text("Done.")).to_be_visible(timeout=60_000)
    running_site.run("guest", "stop", GUEST, "--force", "--timeout", "0", person="olga-operator")


def test_a_guest_is_made_by_the_form_found_again_after_its_page_was_closed_and_deleted(
    visit: Visit, running_site: RunningSite
) -> None:
    made = f"{GUEST}-b"
    page = visit("olga-operator")
    page.goto("/guests")
    page.get_by_role("link", name="Create guest").click()
    answer = page.locator("#answer")
    expect(answer).to_contain_text("You may create this guest.")
    expect(answer).not_to_contain_text("hipaa.operator-enters-ephi")
    page.get_by_label("ephi").check()
    expect(answer).to_contain_text("hipaa.operator-enters-ephi")
    page.get_by_label("Name", exact=True).fill("Not a name")
    expect(answer).to_contain_text("cannot name a guest")
    page.get_by_label("Disk").fill("1M")
    page.get_by_role("button", name="Create guest").click()
    expect(page.get_by_role("alert").first).to_contain_text(
        "Nothing was made yet: 2 things need a correction."
    )
    expect(page.get_by_label("Name", exact=True)).to_have_value("Not a name")
    expect(page.get_by_label("ephi")).to_be_checked()
    page.get_by_label("Name", exact=True).fill(made)
    page.get_by_label("Disk").fill("64M")
    expect(answer).not_to_contain_text("Before it can be sent")
    page.get_by_role("button", name="Create guest").click()
    page.wait_for_url("**/jobs/*")
    page.close()  # the work goes on
    later = visit("olga-operator")
    later.get_by_role("link", name="Jobs", exact=True).click()
    later.get_by_role("link", name=f"Create guest {made}").click()
    expect(later.get_by_text("Done.")).to_be_visible(timeout=60_000)
    later.get_by_role("link", name=f"Go to {made}").click()
    expect(later.locator("table").first).to_contain_text("aes-256-xts-plain64")
    expect(later.locator("table").first).to_contain_text("active")
    later.get_by_label(f"Type {made} to delete it").fill("something else")
    later.get_by_role("button", name="Delete for ever").click()
    expect(later.get_by_role("alert")).to_contain_text("nothing was deleted")
    later.get_by_label(f"Type {made} to delete it").fill(made)
    later.get_by_role("button", name="Delete for ever").click()
    expect(later.get_by_role("status")).to_contain_text(
        f"The guest {made} and the keys to its disks were deleted."
    )
    listed = running_site.run("guest", "list", person="olga-operator")["items"]
    assert made not in {guest["name"] for guest in listed}


def test_on_a_phone_the_parts_of_the_site_open_behind_a_button_without_any_script(visit: Visit) -> None:
    page = visit("carl-compliance", viewport={"width": 390, "height": 844}, java_script_enabled=False)
    expect(page.get_by_role("link", name="Log", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Log", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log")


def test_an_auditor_sees_everything_and_no_button_that_changes_it(visit: Visit) -> None:
    page = visit("anna-auditor")
    page.goto("/guests")
    expect(page.get_by_role("link", name=GUEST)).to_be_visible()
    assert page.get_by_role("button").all_text_contents() == ["Log out", "Filter"]
    assert page.get_by_role("link", name="Create guest").count() == 0


def test_the_officer_finds_a_record_by_filters_that_live_in_the_address(visit: Visit) -> None:
    page = visit("carl-compliance")
    page.get_by_role("link", name="Log", exact=True).click()
    page.select_option("#action", "guest.create")
    page.select_option("#kind", "intent")
    page.get_by_role("button", name="Filter").click()
    assert "action=guest.create" in page.url
    assert "kind=intent" in page.url
    page.locator("tbody a").first.click()
    expect(page.locator("pre").first).to_contain_text('@id("base.operator-guests")')
    expect(page.get_by_role("heading", name=re.compile("Outcome, in record"))).to_be_visible()
    page.get_by_role("heading", name=re.compile("Outcome, in record")).get_by_role("link").click()
    expect(page.locator(".title")).to_contain_text("outcome")


def test_after_the_log_out_the_way_back_shows_nothing(visit: Visit) -> None:
    page = visit("carl-compliance")
    page.goto("/log")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    expect(page.locator("table")).to_have_count(0)


def test_the_session_is_out_of_reach_of_scripts_and_inline_scripts_do_not_run(visit: Visit) -> None:
    page = visit("olga-operator", breaks_rules=True)
    assert page.evaluate("document.cookie") == ""
    blocked = page.evaluate(
        """() => new Promise((resolve) => {
            document.addEventListener("securitypolicyviolation", (event) => resolve(event.violatedDirective));
            const script = document.createElement("script");
            script.textContent = "window.injected = true";
            document.body.append(script);
            setTimeout(() => resolve("not blocked"), 2000);
        })"""
    )
    assert str(blocked).startswith("script-src")
    assert page.evaluate("window.injected") is None


def test_the_keyboard_alone_is_enough(visit: Visit) -> None:
    page = visit(None)
    page.goto("/login")
    page.keyboard.type("olga-operator")  # the first field has the focus already
    page.keyboard.press("Tab")
    page.keyboard.type("a long passw0rd")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    expect(page.locator(".jump")).to_be_in_viewport()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_its_window(visit: Visit, pictures: Path, scheme: str, width: int) -> None:
    page = visit("carl-compliance", color_scheme=scheme, viewport={"width": width, "height": 844})
    for name, path in {
        "overview": "/",
        "guests": "/guests",
        "guest": f"/guests/{GUEST}",
        "jobs": "/jobs",
        "log": "/log",
        "record": "/log/0",
        "not-found": "/nowhere",
        "bad-filter": "/log?since=yesterday",
    }.items():
        page.goto(path)
        _picture(page, pictures / f"{name}-{scheme}-{width}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    if page.get_by_role("button", name="Menu").is_visible():
        page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Log out").click()
    _picture(page, pictures / f"log-in-{scheme}-{width}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_what_only_an_operator_sees_fits_its_window_too(
    visit: Visit, pictures: Path, scheme: str, width: int
) -> None:
    page = visit("olga-operator", color_scheme=scheme, viewport={"width": width, "height": 844})
    for name, path in {
        "overview-operator": "/",
        "guest-operator": f"/guests/{GUEST}",
        "new-guest": "/new-guest",
    }.items():
        page.goto(path)
        _picture(page, pictures / f"{name}-{scheme}-{width}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def _picture(page: Page, path: Path) -> None:
    """Take a picture for people; under load Chromium now and then cannot at the first try."""
    try:
        page.screenshot(path=path, full_page=True)
    except PlaywrightError:
        page.screenshot(path=path, full_page=True)
