"""The accessible copy of a report: one HTML file of the same model, without script, for screen readers and browsers.

The open-source PDF writer makes no tagged PDF, so this is the copy for people who cannot read that one. Every value
goes through the template's escaping; nothing in the model is taken as markup.
"""

from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template

from audit.report.model import Block, ReportModel


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    source = resources.files("audit.report").joinpath("report.html.j2").read_text("utf-8")
    return environment.from_string(source)


def _kind_of(block: Block) -> str:
    return type(block).__name__


def render_html(report: ReportModel) -> bytes:
    """Render a report as one HTML document, UTF-8."""
    return _template().render(report=report, kind_of=_kind_of).encode()
