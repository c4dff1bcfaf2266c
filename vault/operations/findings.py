"""What a person must look at."""

from typing import Any

from policies.vocabulary import Action
from vault.entities import SITE
from vault.gate import Access, Caller
from vault.model import Finding
from vault.site import Site


def finding_view(finding: Finding) -> dict[str, Any]:
    """A finding as people and programs see it."""
    return {
        "id": finding.id,
        "code": finding.code,
        "severity": finding.severity,
        "resource": finding.resource,
        "sentence": finding.sentence,
        "remedy": finding.remedy,
        "record": finding.record,
        "since": finding.created_at.isoformat(),
    }


def list_findings(site: Site, caller: Caller) -> dict[str, Any]:
    """Open findings, newest first."""
    return site.gate.read(
        Access(caller, Action.FINDING_LIST, SITE),
        lambda: {"items": [finding_view(finding) for finding in site.findings.all_open()], "next": None},
        view="findings",
    )
