"""Jobs: those that a person may see, and one: how far it is, and how it ended.

The page of one follows it by server-sent events, each a piece of the page; without script it loads itself again.
"""

from collections.abc import Iterator
from typing import Any, Final

from apiflask import APIBlueprint
from flask import Response, redirect, render_template, request, stream_with_context, url_for
from werkzeug.wrappers import Response as AnyResponse

from policies.vocabulary import Action
from vault.jobs import job_ref
from vault.model import Job, JobState
from web import long_work
from web.api.jobs import RETRY, STILL_AT_IT, changes
from web.guard import caller
from web.site import site, stopping
from web.views import people, permitted
from web.views.refresh import wants_part

routes = APIBlueprint("jobs", __name__, url_prefix="/jobs", enable_openapi=False)

_LATEST: Final = 200


@routes.get("")
def show_all() -> str:
    """Show the newest jobs; the filter lives in the address."""
    whose = request.args.get("whose", "all")
    state = request.args.get("state", "")
    own = caller().principal.id
    found = [
        long_work.view(job) | {"account": job.account_id}
        for job in long_work.latest(_LATEST)
        if (whose != "mine" or job.account_id == own) and (not state or job.state == state)
    ]
    return render_template(
        "job_rows.html" if wants_part() else "jobs.html",
        jobs=found,
        whose=whose,
        state=state,
        states=[known.value for known in JobState],
        sees_all=long_work.sees_all(),
        people=people.names() if long_work.sees_all() else {},
        address=url_for("pages.jobs.show_all", whose=whose, state=state),
        most=_LATEST,
    )


@routes.get("/<job_id>")
def show(job_id: str) -> str:
    """Show a job."""
    return render_template("job.html", job=_shown(long_work.visible(job_id)))


@routes.post("/<job_id>/cancel")
def cancel(job_id: str) -> AnyResponse:
    """Cancel a job where that is safe, and show what becomes of it."""
    long_work.cancel(job_id)
    return redirect(url_for("pages.jobs.show", job_id=job_id), 303)


@routes.get("/<job_id>/events")
def follow(job_id: str) -> Response:
    """Follow a job: `progress` carries the changing piece of its page, `ended` says that nothing more comes."""
    job = long_work.visible(job_id)
    known = request.headers.get("Last-Event-ID", "")
    stream = stream_with_context(_pieces(changes(site().jobs, job, stopping(), known)))
    return Response(stream, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _pieces(seen: Iterator[Job | None]) -> Iterator[str]:
    last: Job | None = None
    yield RETRY
    for job in seen:
        if job is None:
            yield STILL_AT_IT
            continue
        last = job
        piece = render_template("job_live.html", job=_shown(job))
        yield f"id: {job.revision}\n{_event('progress', piece)}"
    if last is not None and long_work.has_ended(last):
        yield _event("ended", "")


def _shown(job: Job) -> dict[str, Any]:
    """A job with whether its reader would be let cancel it."""
    shown = long_work.view(job)
    may_cancel = shown["cancellable"] and not shown["cancelling"]
    return shown | {"may_cancel": may_cancel and permitted.may(Action.JOB_CANCEL, job_ref(job.id))}


def _event(name: str, text: str) -> str:
    lines = "\n".join(f"data: {line}" for line in text.splitlines() or [""])
    return f"event: {name}\n{lines}\n\n"
