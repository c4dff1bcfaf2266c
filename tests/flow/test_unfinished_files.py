"""What a report or an export that was killed left behind goes at the next start."""

import pytest

from policies.vocabulary import Action
from tests.fakes.permits import permit_for
from tests.sites import PreparedSite
from vault.entities import LOG, SITE
from vault.operations.recovery import ROLLED_BACK, settle_files
from vault.site import Site

pytestmark = pytest.mark.real


def test_what_a_killed_report_or_export_left_is_removed_and_finished_ones_stay(
    site: Site, prepared: PreparedSite
) -> None:
    folder = prepared.settings.data_dir
    half_report = folder / "reports" / "11111111-2222-4333-8444-555555555555"
    half_report.mkdir()
    (half_report / "facts.json").write_text("{}")
    half_export = folder / "exports" / ".log-x.tar.0a1b2c3d.part"
    half_export.mkdir()
    finished = folder / "exports" / "log-whole.tar"
    finished.write_text("whole")
    permit = permit_for(Action.REPORT_CREATE, SITE)
    assert settle_files(site, permit) == ROLLED_BACK
    assert permit.facts == {"removed": 2}
    assert not half_report.exists()
    assert not half_export.exists()
    assert finished.exists()
    again = permit_for(Action.LOG_EXPORT, LOG)
    assert settle_files(site, again) == ROLLED_BACK
    assert again.facts == {"removed": 0}
    finished.unlink()
