"""The PDF: the same bytes each time, the right figures on its pages, and nothing in a record becomes markup."""

import hashlib
import json
import re
import subprocess
from io import BytesIO
from pathlib import Path

import pypdf
import pytest

from audit.evidence.framework import Framework
from audit.evidence.verdict import Verdict
from tests.unit.evidence.examples import Story, snapshot
from tests.unit.report.hostile import hostile_snapshot
from tests.unit.report.made import hostile_pdf, model_of, pdf_of, usual_pdf


def _text(pdf: bytes, tmp_path: Path) -> str:
    """What a reader sees, by a program of its own (poppler)."""
    path = tmp_path / "report.pdf"
    path.write_bytes(pdf)
    return subprocess.run(
        ["pdftotext", "-layout", str(path), "-"], capture_output=True, check=True, text=True, timeout=60
    ).stdout


@pytest.mark.parametrize("framework", list(Framework))
def test_the_same_snapshot_gives_the_same_bytes(framework: Framework) -> None:
    assert pdf_of(snapshot(framework)) == usual_pdf(framework)


def test_the_file_is_dated_by_its_snapshot_and_not_by_the_clock() -> None:
    info = pypdf.PdfReader(BytesIO(usual_pdf(Framework.PCI))).metadata
    assert info is not None
    assert {str(info["/CreationDate"]), str(info["/ModDate"])} == {"D:20260331120000+00'00'"}
    assert info.title == "PCI DSS v4.0.1 evidence report, St. Vitus Clinic, 2026-03-01 to 2026-04-01"


def test_the_pages_show_the_figures_of_the_evaluation(tmp_path: Path) -> None:
    over = snapshot(Framework.PCI)
    _, evaluation = model_of(over)
    text = _text(usual_pdf(Framework.PCI), tmp_path)
    counts = evaluation.counts()
    assert f"{evaluation.tested()} of {len(evaluation.controls)}" in text
    for verdict in (Verdict.SATISFIED, Verdict.PARTIAL, Verdict.NOT_SATISFIED):
        assert f"{verdict.value}: {counts[verdict]}" in text
    for words in ("3.5.1.2", "Not in Place", "EV-0001", "leaves 3.5.1.2", evaluation.snapshot_sha256):
        assert words in text


def test_each_page_after_the_cover_says_which_of_how_many_it_is(tmp_path: Path) -> None:
    pdf = usual_pdf(Framework.HIPAA)
    pages = len(pypdf.PdfReader(BytesIO(pdf)).pages)
    numbers = re.findall(r"Page (\d+) of (\d+)", _text(pdf, tmp_path))
    assert numbers == [(str(n), str(pages)) for n in range(2, pages + 1)]


def test_contents_and_bookmarks_lead_to_every_section() -> None:
    report, _ = model_of(snapshot(Framework.HIPAA))
    reader = pypdf.PdfReader(BytesIO(usual_pdf(Framework.HIPAA)))
    titles = [entry.title for entry in reader.outline if not isinstance(entry, list)]
    assert titles == [section.title for section in report.sections]
    assert len(list(reader.pages[1].get("/Annots", ()))) > len(report.sections)


def test_the_evidence_travels_inside_and_its_digests_are_printed(tmp_path: Path) -> None:
    over = snapshot(Framework.PCI)
    pdf = usual_pdf(Framework.PCI)
    attached = {name: data[0] for name, data in pypdf.PdfReader(BytesIO(pdf)).attachments.items()}
    manifest = json.loads(attached.pop("manifest.json"))
    assert {each["name"]: each["sha256"] for each in manifest["files"]} == {
        name: hashlib.sha256(data).hexdigest() for name, data in attached.items()
    }
    assert {"evaluation.json", "snapshot.json", "records.csv", "controls.csv"} <= set(attached)
    assert attached["snapshot.json"] == over.facts.to_bytes()
    assert json.loads(attached["evaluation.json"])["framework"] == "pci"
    text = "".join(_text(pdf, tmp_path).split())
    for name, data in attached.items():
        assert name in text
        assert hashlib.sha256(data).hexdigest() in text


def test_a_long_table_repeats_its_head_and_says_how_much_it_shows(tmp_path: Path) -> None:
    story = Story()
    for _ in range(400):
        story.add("external", "guest.stop", principal="os:0", resource="guest:x")
    text = _text(pdf_of(snapshot(Framework.HIPAA, events=story.events)), tmp_path)
    assert "Showing 300 of 400 rows; all of them in the attached EV-0004.csv." in text
    assert text.count("What is wrong") > 1


@pytest.mark.parametrize("framework", list(Framework))
def test_hostile_strings_are_printed_and_obeyed_nowhere(framework: Framework, tmp_path: Path) -> None:
    pdf = hostile_pdf(framework)
    text = _text(pdf, tmp_path)
    for words in ("<b>x", '<font color="white">', '<img src="http', "</td><script>"):
        assert words in text.replace("\n", ""), words
    assert "10,000 characters" in text.replace("\n", " ")
    assert "\\u{202e}" in text
    assert "\u202e" not in text
    reader = pypdf.PdfReader(BytesIO(pdf))
    addresses = [
        annotation.get_object().get("/A", {}).get("/URI")
        for page in reader.pages
        for annotation in page.get("/Annots", [])
    ]
    assert [address for address in addresses if address] == []
    assert all(not page.images for page in reader.pages)


def test_hostile_strings_give_the_same_bytes_too() -> None:
    assert pdf_of(hostile_snapshot(Framework.HIPAA)) == hostile_pdf(Framework.HIPAA)
