"""A report made by a whole site: signed by its key, verified offline, and the same again from its own snapshot."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pypdf
import pytest

from audit.evidence.framework import Framework
from audit.evidence.instant import Period
from audit.report.make import make_report
from audit.report.signer import KEY_FILE, ReportSigner
from audit.verify import Trust, verify_report
from policies.vocabulary import Action
from tests.sites import ADMINISTRATOR, PASSWORD, PreparedSite, make_guest, records
from vault.gate import Caller
from vault.identity.accounts import account_ref
from vault.jobs import no_progress
from vault.operations.accounts import create_account
from vault.operations.reports import create_report
from vault.site import Site

FROM = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def carl(site: Site, prepared: PreparedSite) -> Caller:
    """A compliance officer."""
    made = create_account(site, prepared.caller(ADMINISTRATOR), "carl-compliance", PASSWORD, ["officer"])
    return Caller(account_ref(made["id"]), "cli", "session-of-carl")


def _made(site: Site, caller: Caller) -> tuple[dict[str, Any], Path]:
    report = create_report(site, caller, "hipaa", FROM, datetime.now(UTC) + timedelta(days=1), no_progress)
    folder = site.settings.data_dir / "reports" / report["id"]
    return report, next(folder.glob("*.pdf"))


def test_a_report_is_signed_by_the_site_and_made_again_from_what_it_carries(
    site: Site, carl: Caller, olga: Caller, tmp_path: Path
) -> None:
    make_guest(site, olga, "clinic-db", labels=["ephi"])
    report, pdf = _made(site, carl)
    signer = ReportSigner.load(site.settings.secrets_dir)

    # 1. It verifies, against the site's certificate and the log's key.
    trust = Trust.parse({"report_certificates": [signer.fingerprints[-1]], "log_vkey": site.reader.vkey})
    verified = verify_report(pdf, trust)
    assert verified.holds
    assert report["signed_by"] == list(signer.fingerprints)

    # 2. The log's record has the digests of the files and of the unsigned bytes.
    outcome = records(site)[-1]
    assert outcome.action == Action.REPORT_CREATE
    assert outcome.result is not None
    facts = outcome.result["facts"]
    assert isinstance(facts, dict)
    assert facts["files"][pdf.name] == sha256(pdf.read_bytes()).hexdigest()

    # 3. Made again from the attached snapshot, it is the first bytes of what was signed.
    attached = pypdf.PdfReader(BytesIO(pdf.read_bytes())).attachments
    (tmp_path / "snapshot.json").write_bytes(attached["snapshot.json"][0])
    manifest = json.loads(attached["manifest.json"][0])
    period = Period.between(manifest["period"]["from"], manifest["period"]["to"])
    make_report(
        tmp_path / "snapshot.json",
        site.settings.log_db,
        Framework.HIPAA,
        period,
        tmp_path / "again",
        lambda _fraction, _sentence: None,
    )
    again = next((tmp_path / "again").glob("*.pdf")).read_bytes()
    assert facts["unsigned_pdf"] == {"size_bytes": len(again), "sha256": sha256(again).hexdigest()}
    assert pdf.read_bytes().startswith(again)


def test_a_site_that_is_older_than_report_keys_gets_one_with_its_first_report(
    site: Site, carl: Caller
) -> None:
    (site.settings.secrets_dir / KEY_FILE).unlink()
    report, pdf = _made(site, carl)
    assert verify_report(pdf, Trust().with_report_certificate(report["signed_by"][0])).holds


@pytest.mark.parametrize("kind", ["intent", "outcome"])
def test_no_record_of_a_report_holds_a_key(site: Site, kind: str) -> None:
    secret = (site.settings.secrets_dir / KEY_FILE).read_bytes().split(b"\n")[1]
    found = [record.bytes for record in records(site) if record.kind == kind]
    assert found
    assert all(secret not in data for data in found)
