"""One job: how far it is, and how it ended. The page asks again by itself; no script is needed."""

from apiflask import APIBlueprint
from flask import render_template

from web import long_work

routes = APIBlueprint("jobs", __name__, url_prefix="/jobs", enable_openapi=False)


@routes.get("/<job_id>")
def show(job_id: str) -> str:
    """Show a job."""
    return render_template("job.html", job=long_work.view(long_work.visible(job_id)))
