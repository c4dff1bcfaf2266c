"""The form that makes a guest: explains, checks with the operation's own sentences, shows the policy's answer."""

import re
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from tests.unit.web.people_at_browsers import HTML, enter, send
from vault.disks.images.model import DISK_FILE, FileDigest, Firmware, Image, Source
from vault.model import Job
from vault.site import Site
from web.views.words import written_size

GOOD = {
    "name": "clinic-2",
    "image": "debian-12",
    "vcpus": "1",
    "memory": "256M",
    "disk": "4G",
    "more_labels": "",
    "start_order": "0",
}


@pytest.fixture(autouse=True)
def image(site: Site) -> Image:
    """An image of 2 GiB; nobody reads its disk here."""
    identity = "00000000-0000-4000-8000-000000000001"
    folder = site.settings.data_dir / "images" / identity
    folder.mkdir()
    made = Image(
        folder=folder,
        id=identity,
        name="debian-12",
        os="Debian 12",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        source=Source.IMPORTED,
        recipe_sha256=None,
        virtual_size_bytes=2 * 2**30,
        firmware=Firmware.BIOS,
        kernel_options=None,
        files={DISK_FILE: FileDigest("0" * 64, 1)},
    )
    (folder / "image.json").write_bytes(made.document)
    return made


def _check(browser: FlaskClient, **changed: object) -> str:
    return send(browser, "/new-guest", "/new-guest/check", GOOD | changed).text


def _jobs(site: Site) -> list[Job]:
    return site.jobs.latest()


def test_the_form_begins_with_what_fits_the_image(anybody: FlaskClient) -> None:
    page = enter(anybody, "olga-operator").get("/new-guest", headers=HTML).text
    assert 'name="disk" type="text" value="4G"' in page  # the image's 2 GiB and room
    assert '<option value="debian-12" selected>' in page
    assert "base.operator-guests" in page


def test_each_label_says_which_policies_in_force_name_it(anybody: FlaskClient) -> None:
    page = enter(anybody, "olga-operator").get("/new-guest", headers=HTML).text
    assert "hipaa.ephi-needs-operator" in page
    assert "pci.custodian-stays-outside-chd" in page


def test_the_answer_follows_the_labels_before_anything_is_sent(site: Site, anybody: FlaskClient) -> None:
    browser = enter(anybody, "olga-operator")
    assert "hipaa.operator-enters-ephi" not in _check(browser)
    answer = _check(browser, labels=["ephi"])
    assert "hipaa.operator-enters-ephi" in answer
    assert "allowed" in answer
    assert _jobs(site) == []


def test_a_check_says_what_is_wrong_in_the_operations_own_words_and_changes_nothing(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "olga-operator")
    for changed, sentence in (
        ({"name": "Clinic 2"}, "&#39;Clinic 2&#39; cannot name a guest."),
        ({"name": "web-1"}, "The guest name &#39;web-1&#39; is taken."),
        ({"vcpus": "9999"}, "vCPUs, not 9999"),
        ({"vcpus": "one"}, "&#39;one&#39; is not a whole number."),
        ({"vcpus": "-1"}, "&#39;-1&#39; is not a whole number."),
        ({"memory": "1M"}, "of memory, not 1M"),
        ({"memory": "lots"}, "&#39;lots&#39; is not a size."),
        ({"disk": "1G"}, "is smaller than the image"),
        ({"disk": "0G"}, "&#39;0G&#39; is not a size."),
        ({"more_labels": "PHI!"}, "&#39;PHI!&#39; cannot be a label."),
        ({"image": "nothing"}, "Choose one of the images."),
    ):
        assert sentence in _check(browser, **changed), changed
    assert "Before it can be sent" not in _check(browser, name="")  # nobody has come that far
    assert _jobs(site) == []


def test_a_wrong_form_comes_back_with_everything_typed_and_makes_nothing(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "olga-operator")
    typed = GOOD | {"name": "Clinic 2", "labels": ["chd"], "more_labels": "ward-7", "autostart": "yes"}
    answer = send(browser, "/new-guest", "/new-guest", typed)
    assert answer.status_code == 400
    assert 'value="Clinic 2"' in answer.text
    assert 'value="ward-7"' in answer.text
    assert re.search(r'value="chd" checked', answer.text)
    assert re.search(r'id="autostart" name="autostart" value="yes" checked', answer.text)
    assert 'aria-invalid="true"' in answer.text
    assert _jobs(site) == []


def test_a_good_form_becomes_a_job_and_leads_to_it(site: Site, anybody: FlaskClient) -> None:
    answer = send(enter(anybody, "olga-operator"), "/new-guest", "/new-guest", GOOD)
    assert answer.status_code == 303
    assert re.fullmatch(r"/jobs/[0-9a-f-]+", answer.headers["Location"])
    assert [(job.action, job.subject) for job in _jobs(site)] == [("guest.create", "clinic-2")]


def test_whoever_may_not_is_told_so_before_sending_and_the_refused_try_is_recorded(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "ada-admin")  # sees images, may not make guests
    page = browser.get("/new-guest", headers=HTML).text
    assert "You may not create this guest." in page
    assert 'href="/new-guest"' not in browser.get("/guests", headers=HTML).text
    answer = send(browser, "/new-guest", "/new-guest", GOOD)
    assert answer.status_code == 403
    assert 'value="clinic-2"' in answer.text
    assert "does not allow you" in answer.text
    newest = site.reader.by_seq(site.log.head().size - 1)
    assert (newest.kind, newest.action) == ("denied", "guest.create")
    assert _jobs(site) == []


def test_what_was_typed_is_text_and_no_markup(anybody: FlaskClient) -> None:
    browser = enter(anybody, "olga-operator")
    hostile = '"><script>alert(1)</script>'
    typed = dict.fromkeys(GOOD, hostile) | {"labels": [hostile]}
    for text in (
        send(browser, "/new-guest", "/new-guest", typed).text,
        send(browser, "/new-guest", "/new-guest/check", typed).text,
    ):
        assert "<script>alert" not in text
        assert 'value=""><' not in text


@pytest.mark.parametrize(
    ("size_bytes", "written"),
    [(768 * 2**20, "768M"), (4 * 2**30, "4G"), (1536 * 2**20, "1536M"), (2**40, "1T")],
)
def test_a_size_is_written_so_that_it_is_read_back_the_same(size_bytes: int, written: str) -> None:
    assert written_size(size_bytes) == written
