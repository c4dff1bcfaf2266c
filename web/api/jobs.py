"""Jobs: how far long work is, and its result; and how it is cancelled. They go on when whoever asked has gone."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from apiflask import APIBlueprint
from flask import Response, request, stream_with_context

from vault.jobs import Jobs
from vault.model import Job
from web import long_work
from web.api.inputs import JobQuery
from web.site import site, stopping

routes = APIBlueprint("jobs", __name__, url_prefix="/api/v1/jobs")

#: A stream ends after so long and the client asks again, which shows that its session still holds.
STREAM_S: Final = 300.0
STILL_AT_IT: Final = ": still at it\n\n"
_LOOK_S: Final = 1.0
_STILL_THERE_S: Final = 15.0
#: A browser asks again after so many milliseconds: a daemon is restarted within seconds.
RETRY: Final = "retry: 2000\n\n"


@routes.get("")
@routes.input(JobQuery, location="query", arg_name="asked")
def list_jobs(asked: JobQuery) -> dict[str, Any]:
    """List the newest jobs that the caller may see."""
    return {"items": [long_work.view(job) for job in long_work.latest(asked.limit)], "next": None}


@routes.get("/<job_id>")
def show_job(job_id: str) -> dict[str, Any]:
    """Show a job."""
    return long_work.view(long_work.visible(job_id))


@routes.post("/<job_id>/cancel")
def cancel_job(job_id: str) -> tuple[dict[str, Any], int]:
    """Cancel a job where that is safe. It may take a moment until it has ended."""
    return long_work.view(long_work.cancel(job_id)), 202


@routes.get("/<job_id>/events")
def follow_job(job_id: str) -> Response:
    """Follow a job as server-sent events: `progress` for each change, each with the whole job as data.

    The event's id counts the changes. With `Last-Event-ID` the stream goes on after that change; else, and for a job
    that has ended, it begins with the job as it is.
    """
    job = long_work.visible(job_id)
    known = request.headers.get("Last-Event-ID", "")
    stream = stream_with_context(_lines(changes(site().jobs, job, stopping(), known)))
    return Response(stream, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})


def changes(jobs: Jobs, job: Job, stop: threading.Event, untrusted_known: str = "") -> Iterator[Job | None]:
    """The job now and whenever it changed; None from time to time, so that a client that went is noticed.

    Args:
        untrusted_known: the change that the client knows (`Last-Event-ID`): it is not told again, unless it was the
            last.
    """
    until = time.monotonic() + STREAM_S
    told_at = time.monotonic()
    if long_work.has_ended(job) or untrusted_known != str(job.revision):
        yield job
    while not long_work.has_ended(job) and time.monotonic() < until and not stop.is_set():
        seen, job = job, jobs.wait_for_change(job.id, job.revision, _LOOK_S)
        if job.revision != seen.revision:
            told_at = time.monotonic()
            yield job
        elif time.monotonic() - told_at > _STILL_THERE_S:
            told_at = time.monotonic()
            yield None


def _lines(seen: Iterator[Job | None]) -> Iterator[str]:
    yield RETRY
    for job in seen:
        if job is None:
            yield STILL_AT_IT
        else:
            data = json.dumps(long_work.view(job), ensure_ascii=False)
            yield f"id: {job.revision}\nevent: progress\ndata: {data}\n\n"
