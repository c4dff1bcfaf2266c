"""Make evidence reports, list them, give them out. The facts are measured here.

Judging and drawing is a child's work.
"""

import hashlib
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlmodel import col, select

from audit.evidence.facts import SignerFacts
from audit.report.signer import KEY_FILE, ReportSigner, create_signer
from policies.vocabulary import Action, EntityRef, EntityType
from vault.child_process import run_child
from vault.entities import SITE
from vault.errors import BadInput, NotFound
from vault.evidence import SiteFacts
from vault.gate import Access, Caller
from vault.jobs import Progress
from vault.model import Report, new_id
from vault.permit import Permit
from vault.site import Site

FRAMEWORKS = ("hipaa", "pci")


def create_report(
    site: Site, caller: Caller, framework: str, since: datetime, until: datetime, progress: Progress
) -> dict[str, Any]:
    """Make a report on a period, as PDF, HTML and JSON.

    Args:
        since: the period's beginning, included, aware.
        until: its end, excluded, aware.

    Raises:
        BadInput: unknown framework, or a period that ends before it begins.
    """
    if framework not in FRAMEWORKS:
        raise BadInput(f"There is no report {framework!r}.", f"Reports: {', '.join(FRAMEWORKS)}.")
    if since >= until:
        raise BadInput("The period ends before it begins.", "Give --from an earlier time than --to.")
    report_id = new_id()

    def act(permit: Permit) -> dict[str, Any]:
        progress(2, "Measuring disks, keys and settings.")
        folder = site.settings.data_dir / "reports" / report_id
        folder.mkdir(mode=0o700)
        try:
            signer = _signer(permit, site)
            told = SignerFacts(
                subject=signer.subject, certificates=signer.fingerprints, self_issued=signer.self_issued
            )
            facts = SiteFacts(site).facts(caller.principal.id, datetime.now(UTC), told)
            snapshot = folder / "facts.json"
            snapshot.write_bytes(facts.to_bytes())
            _, made = run_child(
                "audit.report.make",
                [
                    *(
                        "--snapshot",
                        str(snapshot),
                        "--log",
                        str(site.settings.log_db),
                        "--framework",
                        framework,
                    ),
                    *("--from", _written(since), "--to", _written(until), "--out", str(folder)),
                    # The folder's name only: the key is read from its file, and is on no command line.
                    *("--signer", str(site.settings.secrets_dir)),
                ],
                progress,
            )
        except BaseException:
            shutil.rmtree(folder)
            raise
        files = [
            {
                "name": path.name,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "size_bytes": path.stat().st_size,
            }
            for path in sorted(folder.iterdir())
        ]
        permit.note(
            framework=framework,
            report=report_id,
            files={str(file["name"]): str(file["sha256"]) for file in files},
            unsigned_pdf=made["unsigned"],
            signed_by=made["signed_by"][0],
        )
        report = Report(
            id=report_id,
            framework=framework,
            period_from=since,
            period_to=until,
            created_by=caller.principal.id,
            files=files,
            summary=dict(made["summary"]),
        )
        with site.database.session() as session:
            session.add(report)
        return report_view(report) | {
            "sentence": made["sentence"],
            "unsigned_pdf": made["unsigned"],
            "signed_by": made["signed_by"],
        }

    return site.gate.run(Access(caller, Action.REPORT_CREATE, SITE), act)


def _signer(permit: Permit, site: Site) -> ReportSigner:
    """The site's report key; made now for a site that is older than report keys.

    Raises:
        SignerUnusable: it is there, and cannot or must not be used.
    """
    permit.require(SITE, Action.REPORT_CREATE)
    secrets_dir = site.settings.secrets_dir
    if not (secrets_dir / KEY_FILE).exists():
        made = create_signer(secrets_dir, f"{site.settings.instance} on {socket.gethostname()}")
        permit.note(report_key_made=made.fingerprints[0])
    return ReportSigner.load(secrets_dir)


def list_reports(site: Site, caller: Caller, view: str | None = None) -> dict[str, Any]:
    """Reports that were made, newest first."""

    def produce() -> dict[str, Any]:
        with site.database.session() as session:
            rows = session.exec(select(Report).order_by(col(Report.created_at).desc()))
            return {"items": [report_view(row) for row in rows], "next": None}

    return site.gate.read(Access(caller, Action.REPORT_LIST, SITE), produce, view=view)


def report_file(site: Site, caller: Caller, report_id: str, file_name: str) -> Path:
    """One file of a report.

    Raises:
        NotFound: there is no such report or file.
    """

    def produce() -> Path:
        with site.database.session() as session:
            report = session.get(Report, report_id)
        if report is None or file_name not in {file["name"] for file in report.files}:
            raise NotFound("There is no such report or file.", "See the list of reports.")
        return site.settings.data_dir / "reports" / report_id / file_name

    return site.gate.read(
        Access(caller, Action.REPORT_DOWNLOAD, EntityRef(EntityType.REPORT, report_id)), produce
    )


def report_view(report: Report) -> dict[str, Any]:
    """A report as people and programs see it."""
    return {
        "id": report.id,
        "framework": report.framework,
        "from": _written(report.period_from),
        "to": _written(report.period_to),
        "created_by": report.created_by,
        "created_at": report.created_at.isoformat(),
        "files": report.files,
        "summary": report.summary,
    }


def _written(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
