"""The accessible copy of a report: one HTML file of the same model, without script, for screen readers and browsers.

The open-source PDF writer makes no tagged PDF, so this is the copy for people who cannot read that one. Every value
goes through the template's escaping; nothing in the model is taken as markup. It fetches nothing, and its own
content security policy allows exactly its one style sheet, by digest.
"""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from audit.report.charts import PAINTS, Drawing, drawn
from audit.report.model import Columns, ReportModel, StackedRows, VerdictBar

#: Width in which charts are laid out; they scale with the page.
_CHART_WIDTH = 500.0
#: Lines of a tile of four by four units, by direction of the hatching.
_TILES = {"/": "M-1 1L1 -1M0 4L4 0M3 5L5 3", "\\": "M3 -1L5 1M0 0L4 4M-1 3L1 5", "-": "M0 2H4", "|": "M2 0V4"}
#: Paints by name, numbered so that their names need not be ids.
_NUMBERS = {str(name): number for number, name in enumerate(PAINTS)}


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    style = _resource("report.css")
    environment.globals.update(
        # Ours, from a file beside this one: the only text that is not escaped.
        style=Markup(style),  # noqa: S704
        style_sha256=b64encode(sha256(style.encode()).digest()).decode(),
        paints=_NUMBERS,
        kind_of=_kind_of,
        drawn=_drawn,
        ground_of=lambda paint: PAINTS[paint.removesuffix(" plain")].ground,
        edge_of=_edge_of,
        hatching_of=lambda paint: [_TILES[direction] for direction in PAINTS[paint].hatch],
    )
    return environment.from_string(_resource("report.html.j2"))


def _resource(name: str) -> str:
    return resources.files("audit.report").joinpath(name).read_text("utf-8")


def _kind_of(part: object) -> str:
    return type(part).__name__


def _drawn(block: VerdictBar | StackedRows | Columns) -> Drawing:
    return drawn(block, _CHART_WIDTH)


def _edge_of(paint: str) -> str:
    """The ink of a paint, or its ground where the ink is white and would not show."""
    found = PAINTS[paint]
    return found.ground if found.ink == "#FFFFFF" else found.ink


def render_html(report: ReportModel) -> bytes:
    """Render a report as one HTML document, UTF-8."""
    return _template().render(report=report).encode()
