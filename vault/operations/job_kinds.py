"""Every kind of job: how it is done, and what a restart and a cancellation may do with it (ADR 0014).

What acts on a guest is never done twice by itself: recovery settles it, and the job tells how. What only makes a file
(a report, an export, an image) or reads (a verification) begins again.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from audit.errors import RecordNotFound
from policies.vocabulary import Action, EntityRef
from vault.errors import NotFound
from vault.gate import Caller
from vault.jobs import Ending, Kind, Progress
from vault.model import Guest, Report
from vault.operations.guest_create import NewGuest, create_guest
from vault.operations.guest_rows import guest_view
from vault.operations.guest_run import start_guest, stop_guest
from vault.operations.images import build_image, image_view, import_image
from vault.operations.log import export_log, exported, verify_log
from vault.operations.log_replay import replay_log
from vault.operations.reports import create_report, report_view
from vault.site import Site

Arguments = Mapping[str, Any]


def job_kinds(site: Site) -> Mapping[Action, Kind]:
    """The kinds of jobs of a site."""
    return {
        **_guest_kinds(site),
        **_image_kinds(site),
        Action.LOG_VERIFY: Kind(
            lambda caller, _given, progress: verify_log(site, caller, progress), again=True, cancellable=True
        ),
        Action.LOG_EXPORT: Kind(
            lambda caller, given, progress: export_log(
                site, caller, progress, tiles=given.get("tiles", False)
            ),
            result=lambda ending: exported(site, ending.facts),
            again=True,
            cancellable=True,
        ),
        Action.LOG_REPLAY: Kind(
            lambda caller, given, progress: replay_log(site, caller, *_span(given), progress),
            again=True,
            cancellable=True,
        ),
        Action.REPORT_CREATE: Kind(
            lambda caller, given, progress: _report(site, caller, given, progress),
            result=lambda ending: _reported(site, str(ending.facts["report"])),
            again=True,
            cancellable=True,
        ),
    }


def ending_of(site: Site, intent_id: str) -> Ending | None:
    """How the access under an intent ended, as the log tells; None where the log has no such intent."""
    try:
        intent = site.reader.by_id(intent_id)
    except RecordNotFound:
        return None
    outcome = site.reader.outcome_of(intent)
    told: Mapping[str, Any] = (outcome.result if outcome is not None else None) or {}
    facts: Mapping[str, Any] = told.get("facts") or {}
    return Ending(
        intent=intent.id,
        resource=EntityRef.parse(intent.resource),
        code=str(told.get("code", "")),
        facts=facts,
        recovered=outcome is None or facts.get("recovered") is True,
    )


def _guest_kinds(site: Site) -> Mapping[Action, Kind]:
    def shown(ending: Ending) -> Mapping[str, Any]:
        with site.database.session() as session:
            guest = session.get(Guest, ending.resource.id)
        if guest is None:
            raise NotFound("The guest is gone.")
        return guest_view(site, guest)

    return {
        Action.GUEST_CREATE: Kind(
            lambda caller, given, progress: create_guest(site, caller, NewGuest(**given), progress),
            result=shown,
            cancellable=True,
            needs_keys=True,
            taken_back="What there was of the guest has been taken back whole.",
            look="Create it again if you still want it.",
        ),
        Action.GUEST_START: Kind(
            lambda caller, given, progress: start_guest(site, caller, given["name"], progress),
            result=shown,
            needs_keys=True,
            taken_back="The guest does not run; what was half started has been removed.",
            look="Start it again if you still want it.",
        ),
        Action.GUEST_STOP: Kind(
            lambda caller, given, progress: stop_guest(site, caller, **given, progress=progress),
            result=shown,
            taken_back="The guest still runs.",
            look="Stop it again if you still want it.",
        ),
    }


def _image_kinds(site: Site) -> Mapping[Action, Kind]:
    def shown(ending: Ending) -> Mapping[str, Any]:
        return image_view(site.images.get(str(ending.facts["image"])))

    return {
        Action.IMAGE_BUILD: Kind(
            lambda caller, given, progress: build_image(site, caller, given["name"], progress),
            result=shown,
            again=True,
            cancellable=True,
        ),
        Action.IMAGE_IMPORT: Kind(
            lambda caller, given, progress: import_image(
                site, caller, given["name"], Path(given["path"]), given["sha256"], given["format"], progress
            ),
            result=shown,
            again=True,
            cancellable=True,
        ),
    }


def _report(site: Site, caller: Caller, given: Arguments, progress: Progress) -> dict[str, Any]:
    return create_report(site, caller, given["framework"], *_span(given), progress)


def _span(given: Arguments) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(given["since"]), datetime.fromisoformat(given["until"])


def _reported(site: Site, report_id: str) -> Mapping[str, Any]:
    with site.database.session() as session:
        report = session.get(Report, report_id)
    if report is None:
        raise NotFound("The report is gone.")
    return report_view(report)
