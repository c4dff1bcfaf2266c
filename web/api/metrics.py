"""`/metrics` for Prometheus, and the same figures for people."""

from typing import Any, Final

from apiflask import APIBlueprint
from flask import Response, current_app
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from audit.errors import LogUnavailable
from vault.errors import OutcomeNotRecorded
from vault.operations import figures, keystore
from web.api.inputs import ViewQuery
from web.guard import caller
from web.metrics import Metrics
from web.site import site

routes = APIBlueprint("metrics", __name__)

#: Where the application keeps its counters.
METRICS: Final = "strongroom.metrics"
#: A scrape every 15 seconds is one record in five minutes.
_VIEW: Final = "prometheus"


@routes.get("/metrics")
def show_metrics() -> Response:
    """Show figures in Prometheus' text format, to whoever the policy lets (action `metrics.read`)."""
    metrics: Metrics = current_app.extensions[METRICS]
    try:
        text = metrics.text(figures.read_figures(site(), caller(), _VIEW))
    except (OutcomeNotRecorded, LogUnavailable):
        # Nothing may be read without a record; but that the gate has stopped must not go unseen.
        text = metrics.reduced_text(keystore.status(site()))
    return Response(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)


@routes.get("/api/v1/overview")
@routes.input(ViewQuery, location="query", arg_name="asked")
def show_overview(asked: ViewQuery) -> dict[str, Any]:
    """Show how the site stands, in figures, and what to do where something is off."""
    return figures.overview(figures.read_figures(site(), caller(), asked.view))
