"""Jobs: how far long work is, and its result. They go on when whoever asked has gone."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from apiflask import APIBlueprint
from flask import Response

from vault.jobs import Jobs
from vault.model import Job, JobState
from web import long_work
from web.api.inputs import JobQuery
from web.site import site, stopping

routes = APIBlueprint("jobs", __name__, url_prefix="/api/v1/jobs")

#: A stream ends after so long and the client asks again, which shows that its session still holds.
STREAM_S: Final = 300.0
STILL_AT_IT: Final = ": still at it\n\n"
_LOOK_S: Final = 1.0
_STILL_THERE_S: Final = 15.0


@routes.get("")
@routes.input(JobQuery, location="query", arg_name="asked")
def list_jobs(asked: JobQuery) -> dict[str, Any]:
    """List the newest jobs that the caller may see."""
    return {"items": [long_work.view(job) for job in long_work.latest(asked.limit)], "next": None}


@routes.get("/<job_id>")
def show_job(job_id: str) -> dict[str, Any]:
    """Show a job."""
    return long_work.view(long_work.visible(job_id))


@routes.get("/<job_id>/events")
def follow_job(job_id: str) -> Response:
    """Follow a job as server-sent events: `progress` for each change, each with the whole job as data."""
    job = long_work.visible(job_id)
    stream = (_event(seen) for seen in changes(site().jobs, job, stopping()))
    return Response(stream, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})


def changes(jobs: Jobs, job: Job, stop: threading.Event) -> Iterator[Job | None]:
    """The job now and whenever it changed; None from time to time, so that a client that went is noticed."""
    until = time.monotonic() + STREAM_S
    told_at = time.monotonic()
    yield job
    seen = (job.percent, job.sentence, str(job.state))
    while job.state == JobState.RUNNING and time.monotonic() < until and not stop.is_set():
        job = jobs.wait_for_change(job.id, seen, _LOOK_S)
        now = (job.percent, job.sentence, str(job.state))
        if now != seen:
            seen = now
            told_at = time.monotonic()
            yield job
        elif time.monotonic() - told_at > _STILL_THERE_S:
            told_at = time.monotonic()
            yield None


def _event(job: Job | None) -> str:
    if job is None:
        return STILL_AT_IT
    return f"event: progress\ndata: {json.dumps(long_work.view(job), ensure_ascii=False)}\n\n"
