"""Make the recorded decisions again, in a child process, and compare."""

from datetime import UTC, datetime
from typing import Any

from policies.vocabulary import Action
from vault.child_process import run_child
from vault.entities import LOG
from vault.errors import BadInput, IntegrityFailure
from vault.gate import Access, Caller
from vault.jobs import Progress
from vault.permit import Permit
from vault.site import Site

_INTEGRITY_EXIT = 7
_FINDING = "log.replay_differs"


def replay_log(
    site: Site, caller: Caller, since: datetime, until: datetime, progress: Progress
) -> dict[str, Any]:
    """Evaluate every decision of a time again, with the policies and inputs that were recorded.

    Args:
        since: the beginning, included, aware.
        until: the end, excluded, aware.

    Returns:
        the replay's report, where every decision comes out as recorded.

    Raises:
        BadInput: the time ends before it begins.
        IntegrityFailure: a decision does not come out as recorded; a finding is opened.
    """
    if since >= until:
        raise BadInput("The time ends before it begins.", "Give --from an earlier time than --to.")

    def act(permit: Permit) -> dict[str, Any]:
        exit_code, report = run_child(
            "audit.replay",
            [str(site.settings.log_db), "--store", "--from", _written(since), "--to", _written(until)],
            progress,
        )
        permit.note(
            holds=exit_code == 0,
            decisions=report.get("decisions", 0),
            different=report.get("different", 0),
        )
        if exit_code == _INTEGRITY_EXIT:
            failed = [check for check in report.get("checks", []) if not check["holds"]]
            sentence = failed[0]["detail"] if failed else "A decision cannot be made again."
            site.findings.open(
                _FINDING,
                resource=str(LOG),
                sentence=sentence,
                record=permit.intent,
            )
            raise IntegrityFailure(
                f"The decisions do not come out as recorded. {sentence}", "See the findings."
            )
        return dict(report)

    return site.gate.run(Access(caller, Action.LOG_REPLAY, LOG), act)


def _written(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat()
