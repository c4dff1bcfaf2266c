"""Keys, policy, findings, health: what each shows to whom, and the rules that every page of the menu keeps to."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from markupsafe import escape

from audit.log.cosignature import CosignerKey, CosigningKey
from tests.unit.web.browsing import HTML, enter, keeps_to_the_rules, see, send
from tests.unit.web.site_under_test import PASSPHRASE, PEOPLE
from vault.config import WitnessAddress
from vault.model import utc_now
from vault.site import Site
from vault.witnesses.watch import witnesses_of


@pytest.mark.parametrize("name", PEOPLE)
def test_every_page_of_the_menu_opens_for_whom_it_is_shown_and_keeps_to_the_rules(
    site: Site, anybody: FlaskClient, name: str
) -> None:
    site.findings.open(
        "guest.autostart_failed", resource="guest:guest-2", sentence="<i>A</i> thing.", remedy="Mend `it`."
    )
    browser = enter(anybody, name)
    menu = re.findall(r"<nav aria-label=\"Parts of the site\".*?</nav>", see(browser, "/"), re.DOTALL)[0]
    addresses = re.findall(r'href="([^"]+)"', menu)
    assert len(addresses) >= 2
    for address in [*addresses, "/me"]:
        keeps_to_the_rules(see(browser, address))
    # A page that asks for what its reader may not see would fill the log with denials.
    assert "denied" not in {record.kind for record in site.reader.records()}
    shown = set(addresses)
    for address in {"/log", "/reports", "/findings", "/keys", "/policy", "/accounts", "/health"} - shown:
        status = browser.get(address, headers=HTML).status_code
        # The page of keys holds only what its reader may see, so it is refused to nobody.
        assert status == (200 if address == "/keys" else 403), address


def test_a_custodian_unseals_by_the_page_and_a_wrong_passphrase_is_told(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "kim-custodian")
    wrong = send(browser, "/keys/unseal", passphrase="not it")
    assert wrong.status_code == 403
    assert "does not open" in wrong.text
    assert "not it" not in wrong.text
    keeps_to_the_rules(wrong.text)
    assert send(browser, "/keys/unseal", passphrase="").status_code == 400
    assert site.keys.status().sealed
    assert send(browser, "/keys/unseal", passphrase=PASSPHRASE.decode()).status_code == 303
    assert not site.keys.status().sealed
    assert "Seal the key store now" in see(browser, "/keys")
    assert send(browser, "/keys/seal").status_code == 303
    assert site.keys.status().sealed


def test_who_may_not_unseal_sees_no_form_and_is_denied(site: Site, anybody: FlaskClient) -> None:
    browser = enter(anybody, "olga-operator")
    page = see(browser, "/keys")
    assert 'name="passphrase"' not in page
    assert "A custodian or an administrator unseals it." in page
    assert send(browser, "/keys/unseal", passphrase=PASSPHRASE.decode()).status_code == 403
    assert site.keys.status().sealed


def test_an_administrator_unseals_without_seeing_the_list_of_keys(anybody: FlaskClient, site: Site) -> None:
    with site.database.session() as session:
        account = session.get_one(type(site.accounts.named("ada-admin")), "id-ada-admin")
        account.roles = ["administrator"]
    page = see(enter(anybody, "ada-admin"), "/keys")
    assert 'name="passphrase"' in page
    assert "Every key" not in page


def test_the_page_of_policy_says_what_each_policy_says_and_how_often_it_decided(
    site: Site, anybody: FlaskClient
) -> None:
    for _ in range(3):
        enter(anybody, "olga-operator").get("/guests", headers=HTML)
    page = see(enter(anybody, "anna-auditor"), "/policy")
    assert site.bundle.digest in page
    for policy in site.bundle.policies:
        assert f'id="{policy.id}"' in page
        assert str(escape(policy.says)) in page
    assert "Lets the role operator do guest.list, guest.show" in page
    assert "Forbids every account to do anything, unless its exception holds." in page
    section = page[page.index('id="base.operator-guests"') :]
    decided = sum("base.operator-guests" in record.policies for record in site.reader.records())
    assert decided >= 3
    assert f"decided {decided} times lately" in section[: section.index("</li>")]
    assert "lately" not in see(enter(anybody, "ada-admin"), "/policy")


def test_findings_are_shown_the_worst_first_and_filtered_by_the_address(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "carl-compliance")
    assert "Nothing needs a look" in see(browser, "/findings")
    record = site.reader.by_seq(0).id
    for code in ("guest.unknown_domain", "disk.unreadable"):
        site.findings.open(code, resource="guest:guest-2", sentence=f"It is {code}.", record=record)
    page = see(browser, "/findings")
    assert page.index("It is disk.unreadable.") < page.index("It is guest.unknown_domain.")
    assert 'href="/guests/clinic-db"' in page
    assert f'href="/log/{record}"' in page
    assert "guest.unknown_domain" not in see(browser, "/findings?severity=critical")
    assert "No finding fits" in see(browser, "/findings?state=closed")
    assert "There is no severity &#39;&lt;b&gt;&#39;" in see(browser, "/findings?severity=%3Cb%3E", 400)
    assert "There is no state" in see(browser, "/findings?state=gone", 400)


def test_an_officer_acknowledges_and_closes_a_finding_with_words_that_stay_out_of_the_log(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "carl-compliance")
    found = site.findings.open("disk.unreadable", resource="guest:guest-2", sentence="It is gone.")
    page = see(browser, f"/findings/{found.id}")
    keeps_to_the_rules(page)
    empty = send(browser, f"/findings/{found.id}/acknowledge", note="  ")
    assert empty.status_code == 400
    assert "Say why: the note is empty." in empty.text
    assert send(browser, f"/findings/{found.id}/acknowledge", note="Otto <b>looks</b>.").status_code == 303
    page = see(browser, f"/findings/{found.id}")
    assert "carl-compliance</span> knows of it" in page
    assert "Otto &lt;b&gt;looks&lt;/b&gt;." in page
    assert "Say that you know" not in page
    too_long = send(browser, f"/findings/{found.id}/close", reason="x" * 2001)
    assert too_long.status_code == 400
    assert "2000 characters" in too_long.text
    assert send(browser, f"/findings/{found.id}/close", reason="Otto swapped it.").status_code == 303
    page = see(browser, "/findings?state=closed")
    assert "Otto swapped it." in page
    again = send(browser, f"/findings/{found.id}/close", reason="And again.")
    assert again.status_code == 400
    assert "closed already" in again.text
    assert all(b"Otto" not in raw for raw in site.reader.raw())
    see(browser, "/findings/none", 404)


def test_an_auditor_reads_findings_and_can_do_nothing_about_them(site: Site, anybody: FlaskClient) -> None:
    found = site.findings.open("disk.unreadable", resource="guest:guest-2", sentence="It is gone.")
    browser = enter(anybody, "anna-auditor")
    page = see(browser, f"/findings/{found.id}")
    assert "<textarea" not in page
    assert send(browser, f"/findings/{found.id}/close", reason="So.").status_code == 403
    assert site.findings.get(found.id).closed_at is None


def test_the_page_of_health_tells_what_each_witness_cosigned_last(
    site: Site, anybody: FlaskClient, tmp_path: Path
) -> None:
    keys = [CosigningKey.create(tmp_path / f"{each}.key", f"{each}.example") for each in ("near", "far")]
    named = tuple(WitnessAddress("https://w.example", CosignerKey.parse(key.vkey)) for key in keys)
    site.witnesses = witnesses_of(
        replace(site.settings, witnesses=named), site.log, site.reader, site.findings
    )
    cosignature = keys[0].cosign(b"a checkpoint\n", utc_now())
    site.log.add_cosignature(1, named[0].key, cosignature)
    page = see(enter(anybody, "ada-admin"), "/health")
    assert "near.example: 1 record," in page
    assert "far.example: <strong>never cosigned</strong>" in page


def test_the_page_of_health_refreshes_its_parts_and_is_recorded_once_meanwhile(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "ada-admin")
    page = see(browser, "/health")
    assert "Sealed" in page
    assert 'hx-trigger="every 15s"' in page
    sizes = []
    for _ in range(2):
        part = browser.get("/health", headers=HTML | {"HX-Request": "true"})
        assert "<html" not in part.text
        assert "This host" in part.text
        sizes.append(site.log.head().size)
    assert sizes[0] == sizes[1]
