"""The accessible copy: the same figures, real headings and table heads, and no way in for what records hold."""

from html.parser import HTMLParser

import pytest

from audit.evidence.framework import Framework
from audit.report.html import render_html
from tests.unit.evidence.examples import snapshot
from tests.unit.report.hostile import hostile_snapshot
from tests.unit.report.made import model_of


class _Reader(HTMLParser):
    """Collects tags, ids, link targets and text, as a browser would see them."""

    def __init__(self, document: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.headings: list[int] = []
        self.heads_without_scope = 0
        self.text = ""
        self._skip = False
        self.feed(document.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self._skip = tag == "style"
        if identity := given.get("id"):
            self.ids.append(identity)
        if (target := given.get("href")) is not None:
            self.targets.append(target)
        if tag == "th" and "scope" not in given:
            self.heads_without_scope += 1
        if tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        self._skip = self._skip and tag != "style"

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.text += data


def _read(framework: Framework) -> tuple[_Reader, str]:
    report, evaluation = model_of(snapshot(framework))
    return _Reader(render_html(report)), evaluation.snapshot_sha256


@pytest.mark.parametrize("framework", list(Framework))
def test_it_shows_what_the_pdf_shows(framework: Framework) -> None:
    report, evaluation = model_of(snapshot(framework))
    read = _Reader(render_html(report))
    for number, _ in report.cover.figures:
        assert number in read.text
    assert evaluation.snapshot_sha256 in read.text
    for evaluated in evaluation.controls:
        assert evaluated.control.id in read.text


@pytest.mark.parametrize("framework", list(Framework))
def test_every_link_leads_to_a_place_in_the_page(framework: Framework) -> None:
    read, _ = _read(framework)
    assert {target.removeprefix("#") for target in read.targets} <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))


def test_headings_never_skip_a_level_and_table_heads_have_a_scope() -> None:
    read, _ = _read(Framework.PCI)
    assert read.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(read.headings, read.headings[1:], strict=False))
    assert read.heads_without_scope == 0
    assert read.tags.count("main") == read.tags.count("h1") == 1


def test_it_carries_no_script_and_fetches_nothing() -> None:
    report, _ = model_of(snapshot())
    document = render_html(report)
    read = _Reader(document)
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(read.tags)
    assert b"default-src 'none'" in document


@pytest.mark.parametrize("framework", list(Framework))
def test_hostile_strings_stay_text(framework: Framework) -> None:
    report, _ = model_of(hostile_snapshot(framework))
    read = _Reader(render_html(report))
    assert not {"script", "img", "b", "font"} & set(read.tags)
    for words in ("<b>x", '<font color="white">', "<img src=", "<script>alert(1)", "医院の記録"):
        assert words in read.text
    assert "\u202e" not in read.text


def test_the_same_model_gives_the_same_bytes() -> None:
    report, _ = model_of(snapshot())
    assert render_html(report) == render_html(report)
