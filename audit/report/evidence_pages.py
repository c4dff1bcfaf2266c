"""The evidence items of a report: each check's result in full, with its query, its records and its rows."""

from audit.evidence.evaluate import Evaluation, EvidenceItem
from audit.report.attachment import Attachment
from audit.report.csv_table import csv_table
from audit.report.model import (
    MAX_SHOWN_ROWS,
    Block,
    Column,
    Grid,
    Pairs,
    Section,
    Text,
    cells,
    prose,
    seconds,
)
from audit.report.wording import cited

#: Spans of record numbers written out for one evidence item; the attached evaluation holds all.
_MAX_SPANS = 24
#: Headings of columns that hold ids, paths or digests, and their share of the width.
_CODE = {
    "file": 28,
    "disk": 26,
    "key": 24,
    "key in": 20,
    "keys": 24,
    "account": 26,
    "principal": 25,
    "resource": 25,
    "header SHA-256": 20,
    "LUKS UUID": 18,
    "id": 26,
    "location": 24,
    "owner id": 24,
    "key belongs to": 24,
    "SHA-256": 30,
}
#: Headings of columns of numbers.
_NUMBERS = {"record": 10, "bytes": 13, "bits": 8, "age (days)": 12, "failures": 9, "first record": 9}
#: Headings of other columns that want more or less than the usual share.
_WORDS = {
    "guest": 12,
    "action": 18,
    "decision": 11,
    "policies": 20,
    "decided by": 20,
    "answer": 11,
    "what is wrong": 24,
    "dealt with": 9,
    "kind": 10,
    "measured": 17,
    "holds": 8,
    "mode": 8,
    "owner": 9,
    "group": 9,
    "value": 60,
    "what": 25,
    "where": 34,
    "disks": 40,
    "algorithm and strength": 26,
    "description": 40,
}
_USUAL_SHARE = 14
_TIME_SHARE = 21


def evidence_anchor(number: str) -> str:
    """Anchor of an evidence item's section."""
    return f"evidence-{number}"


def sample_words(item: EvidenceItem) -> str:
    """Which items of the population were looked at, in words."""
    return "all of them" if item.result.sample.method == "every item" else item.result.sample.method


def evidence_sections(evaluation: Evaluation) -> Section:
    """Every evidence item in full."""
    return Section(
        anchor="evidence",
        title="Evidence items",
        new_page=True,
        blocks=(
            Text(
                f"{len(evaluation.items)} items, numbered in the order the checks ran. The digest of an "
                "item is of its canonical JSON in the attached evaluation."
            ),
        ),
        sections=tuple(_evidence(evaluation, item) for item in evaluation.items),
    )


def tables(evaluation: Evaluation) -> tuple[Attachment, ...]:
    """A table for each item that has more rows than are shown."""
    return tuple(
        csv_table(f"{item.number}.csv", item.title, item.result.table.columns, item.result.table.rows)
        for item in evaluation.items
        if item.result.table.total > MAX_SHOWN_ROWS
    )


def _rest(item: EvidenceItem) -> str:
    kept, total = len(item.result.table.rows), item.result.table.total
    if kept == total:
        return f"all of them in the attached {item.number}.csv"
    return (
        f"the attached {item.number}.csv holds the first {kept:,}, and records.csv every record, by whose number "
        "the rest is found with the query above"
    )


def _evidence(evaluation: Evaluation, item: EvidenceItem) -> Section:
    result = item.result
    spans = [str(span) for span in result.seqs]
    records = ", ".join(spans[:_MAX_SPANS]) or "none: rests on facts, not on records"
    if len(spans) > _MAX_SPANS:
        records += f" and {len(spans) - _MAX_SPANS} more spans in the attached evaluation"
    blocks: list[Block] = [
        Pairs(
            (
                ("Test", f"{item.check}, version {item.version}"),
                ("Serves", ", ".join(cited(evaluation.framework, control) for control in item.controls)),
                ("Query", prose(result.query)),
                (
                    "Population",
                    (
                        f"{result.unit}: {result.population:,}; looked at: {sample_words(item)}; failing: "
                        f"{result.violations:,}"
                    ),
                ),
                ("Records relied on", records),
                ("Result", prose(result.reason)),
                ("Digest", item.sha256),
            )
        )
    ]
    if result.table.columns:
        shown = result.table.rows[:MAX_SHOWN_ROWS]
        if result.table.total:
            columns = tuple(_column(title) for title in result.table.columns)
            rows = tuple(cells(*(seconds(cell) for cell in row)) for row in shown)
            blocks.append(Grid(columns, rows, result.table.total, rest=_rest(item)))
    return Section(
        anchor=evidence_anchor(item.number),
        title=f"{item.number} {item.title}",
        blocks=tuple(blocks),
        verdict=result.verdict,
    )


def _column(title: str) -> Column:
    heading = title[:1].upper() + title[1:]
    if title in _CODE:
        return Column(heading, _CODE[title], "code")
    if title in _NUMBERS:
        return Column(heading, _NUMBERS[title], "number")
    if title.endswith("(UTC)"):
        return Column(heading, _TIME_SHARE)
    return Column(heading, _WORDS.get(title, _USUAL_SHARE))
