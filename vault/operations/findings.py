"""What a person must look at: list it, say that one knows, close it. Words of people stay out of the log (D3)."""

import hashlib
from collections.abc import Sequence
from typing import Any

from policies.vocabulary import Action
from vault.entities import SITE
from vault.finding_codes import FINDING_CODES, Severity
from vault.findings import FindingState, finding_ref, is_closable, state_of
from vault.gate import Access, Caller
from vault.model import Finding
from vault.permit import Permit
from vault.site import Site

NOT_CLOSED = (FindingState.OPEN, FindingState.ACKNOWLEDGED)


def finding_view(finding: Finding) -> dict[str, Any]:
    """A finding as people and programs see it."""
    known = FINDING_CODES.get(finding.code)
    return {
        "id": finding.id,
        "code": finding.code,
        "title": known.title if known else finding.code,
        "severity": finding.severity,
        "state": state_of(finding),
        "closable": is_closable(finding),
        "resource": finding.resource,
        "sentence": finding.sentence,
        "remedy": finding.remedy,
        "record": finding.record,
        "since": finding.created_at.isoformat(),
        "acknowledged": None
        if finding.acknowledged_at is None
        else {
            "at": finding.acknowledged_at.isoformat(),
            "by": finding.acknowledged_by,
            "note": finding.note,
        },
        "closed": None
        if finding.closed_at is None
        else {"at": finding.closed_at.isoformat(), "by": finding.closed_by, "reason": finding.reason},
        "reopens": finding.reopens,
    }


def list_findings(
    site: Site,
    caller: Caller,
    states: Sequence[FindingState] = NOT_CLOSED,
    severities: Sequence[Severity] = (),
    limit: int | None = None,
) -> dict[str, Any]:
    """Findings, newest first; those that are not closed unless other states are asked for."""
    wanted = " ".join(["findings", *states, *severities])
    return site.gate.read(
        Access(caller, Action.FINDING_LIST, SITE),
        lambda: {
            "items": [finding_view(found) for found in site.findings.search(states, severities, limit)],
            "next": None,
        },
        view=wanted,
    )


def show_finding(site: Site, caller: Caller, finding_id: str) -> dict[str, Any]:
    """One finding, whatever its state.

    Raises:
        NotFound: there is none.
    """
    return site.gate.read(
        Access(caller, Action.FINDING_LIST, SITE),
        lambda: finding_view(site.findings.get(finding_id)),
        view=f"finding {finding_id}",
    )


def acknowledge_finding(site: Site, caller: Caller, finding_id: str, note: str) -> dict[str, Any]:
    """Say that one knows of a finding and what is done about it; it stays open.

    Raises:
        NotFound, BadInput, Conflict: as `Findings.acknowledge`.
    """
    site.findings.get(finding_id)  # before the policy is asked: of what does not exist it could say nothing
    access = Access(caller, Action.FINDING_ACKNOWLEDGE, finding_ref(finding_id))
    return site.gate.run(
        access, lambda permit: _noted(permit, site.findings.acknowledge(permit, finding_id, note), note)
    )


def close_finding(site: Site, caller: Caller, finding_id: str, reason: str) -> dict[str, Any]:
    """Close a finding for a reason; when its cause still stands its check opens it again.

    Raises:
        NotFound, BadInput, Conflict: as `Findings.close_by_hand`.
    """
    site.findings.get(finding_id)
    access = Access(caller, Action.FINDING_CLOSE, finding_ref(finding_id))
    return site.gate.run(
        access, lambda permit: _noted(permit, site.findings.close_by_hand(permit, finding_id, reason), reason)
    )


def _noted(permit: Permit, finding: Finding, words: str) -> dict[str, Any]:
    permit.note(code=finding.code, words_sha256=hashlib.sha256(words.strip().encode()).hexdigest())
    return finding_view(finding)
