"""Findings by API and command line: who may say what to them, and that their words stay out of the log."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient

from policies.vocabulary import Action
from tests.unit.web.fake_daemon import CommandLine
from tests.unit.web.site_under_test import PASSWORD
from vault.model import Finding
from vault.site import Site

Bearer = Callable[[str], dict[str, str]]
NOTE = "Dr. Sommer's laptop did it."


@pytest.fixture
def found(site: Site) -> Finding:
    return site.findings.open("disk.keyslot_unknown", resource="guest:guest-1/root", sentence="A slot.")


def test_an_operator_acknowledges_and_an_officer_closes_and_neither_word_is_in_the_log(
    site: Site, anybody: FlaskClient, bearer: Bearer, found: Finding
) -> None:
    olga, carl = bearer("olga-operator"), bearer("carl-compliance")
    address = f"/api/v1/findings/{found.id}"
    known = anybody.post(f"{address}/acknowledge", json={"note": NOTE}, headers=olga)
    assert (known.status_code, known.get_json()["state"]) == (200, "acknowledged")
    assert known.get_json()["acknowledged"]["note"] == NOTE
    assert known.get_json()["acknowledged"]["by"] == "id-olga-operator"
    closed = anybody.post(f"{address}/close", json={"reason": NOTE}, headers=carl).get_json()
    assert (closed["state"], closed["closed"]["reason"], closed["closed"]["by"]) == (
        "closed",
        NOTE,
        "id-carl-compliance",
    )
    acts = [
        record
        for record in site.reader.records()
        if record.action in {Action.FINDING_CLOSE, Action.FINDING_ACKNOWLEDGE}
    ]
    assert [(record.kind, record.resource) for record in acts] == [
        (kind, f"finding:{found.id}") for kind in ("intent", "outcome") * 2
    ]
    assert acts[-1].result is not None
    assert set(acts[-1].result["facts"]) == {"code", "words_sha256"}  # type: ignore[call-overload]
    assert not any(b"Sommer" in line for line in site.reader.raw())
    assert not any(b"Sommer" in line for line in site.reader.inputs(site.log.head().size))


@pytest.mark.parametrize(
    ("who", "acknowledge", "close"),
    [
        ("anna-auditor", 403, 403),
        ("kim-custodian", 403, 403),
        ("olga-operator", 200, 403),
        ("ada-admin", 200, 403),
        ("carl-compliance", 200, 200),
    ],
)
def test_the_policy_says_who_may_speak_and_who_may_close(
    anybody: FlaskClient, bearer: Bearer, found: Finding, who: str, acknowledge: int, close: int
) -> None:
    header, address = bearer(who), f"/api/v1/findings/{found.id}"
    answer = anybody.post(f"{address}/acknowledge", json={"note": "Seen."}, headers=header)
    assert answer.status_code == acknowledge
    assert anybody.post(f"{address}/close", json={"reason": "Over."}, headers=header).status_code == close


def test_the_list_is_of_what_is_not_closed_unless_it_is_asked_otherwise(
    site: Site, anybody: FlaskClient, bearer: Bearer, found: Finding
) -> None:
    anna = bearer("anna-auditor")
    over = site.findings.open("host.unprotected", resource="host:host", sentence="Swap.")
    site.findings.close("host.unprotected", "host:host")

    def ids(query: str) -> list[str]:
        items = anybody.get(f"/api/v1/findings{query}", headers=anna).get_json()["items"]
        return [item["id"] for item in items]

    assert ids("") == ids("?state=open") == ids("?severity=critical") == [found.id]
    assert ids("?state=all") == [over.id, found.id]
    assert ids("?state=closed") == ids("?state=all&severity=high") == [over.id]
    assert ids("?state=acknowledged") == []
    for wrong in ("?state=gone", "?severity=odd", "?limit=0", "?surprise=1"):
        assert anybody.get(f"/api/v1/findings{wrong}", headers=anna).status_code == 400, wrong
    shown = anybody.get(f"/api/v1/findings/{over.id}", headers=anna).get_json()
    assert shown["closed"] == {"at": shown["closed"]["at"], "by": None, "reason": None}
    assert anybody.get("/api/v1/findings/nonsense", headers=anna).status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"note": ""}, {"note": "  "}, {"note": "x" * 2001}, {"note": 5}, {"reason": "x"}]
)
def test_words_that_cannot_be_taken_are_400_and_change_nothing(
    site: Site, anybody: FlaskClient, bearer: Bearer, found: Finding, body: dict[str, object]
) -> None:
    answer = anybody.post(
        f"/api/v1/findings/{found.id}/acknowledge", json=body, headers=bearer("olga-operator")
    )
    assert answer.status_code == 400
    assert site.findings.get(found.id).acknowledged_at is None


def test_a_finding_that_is_not_there_is_404_and_asks_no_policy(
    site: Site, anybody: FlaskClient, bearer: Bearer
) -> None:
    header, before = bearer("carl-compliance"), site.log.head().size
    assert (
        anybody.post("/api/v1/findings/none/close", json={"reason": "x"}, headers=header).status_code == 404
    )
    assert site.log.head().size == before


@pytest.fixture
def people(
    app: Flask, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    transport = httpx.WSGITransport(app=app)
    line = CommandLine(transport, capsys, tmp_path, monkeypatch)
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    for name in ("olga-operator", "carl-compliance", "anna-auditor"):
        assert line("login", name, "--password-file", str(secret), "--as", name).code == 0
    return line


def test_the_command_line_leads_a_finding_through_its_life(
    people: CommandLine, found: Finding, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    note.write_text(f"{NOTE}\n")
    listed = people("finding", "list", "--as", "anna-auditor", "--json").document
    assert [item["id"] for item in listed["items"]] == [found.id]
    assert (
        people("finding", "acknowledge", found.id, "--note-file", str(note), "--as", "olga-operator").code
        == 0
    )
    shown = people("finding", "show", found.id, "--as", "anna-auditor").out
    assert NOTE in shown
    assert "disk.keyslot_unknown" in shown
    denied = people("finding", "close", found.id, "--reason", "x", "--as", "olga-operator")
    assert denied.code == 3
    assert people("finding", "close", found.id, "--reason", "Over.", "--as", "carl-compliance").code == 0
    again = people("finding", "close", found.id, "--reason", "Over.", "--as", "carl-compliance")
    assert (again.code, again.err.count("\n")) == (5, 1)
    assert people("finding", "list", "--as", "anna-auditor").out == "Nothing needs a look.\n"
    closed = people(
        "finding", "list", "--state", "closed", "--severity", "critical", "--as", "anna-auditor", "--json"
    )
    assert [item["closed"]["reason"] for item in closed.document["items"]] == ["Over."]


@pytest.mark.parametrize(
    "arguments",
    [
        ["acknowledge", "x"],
        ["acknowledge", "x", "--note", "a", "--note-file", "b"],
        ["close", "x"],
        ["list", "--state", "gone"],
        ["list", "--severity", "odd"],
    ],
)
def test_a_finding_command_that_cannot_be_meant_is_bad_usage(
    people: CommandLine, arguments: list[str]
) -> None:
    ended = people("finding", *arguments, "--as", "carl-compliance")
    assert ended.code == 2
    assert ended.err.count("\n") == 1


def test_a_note_that_is_no_text_or_no_file_is_refused(
    people: CommandLine, tmp_path: Path, found: Finding
) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    ended = people("finding", "acknowledge", found.id, "--note-file", str(binary), "--as", "olga-operator")
    assert ended.code == 2
    assert (
        people("finding", "acknowledge", found.id, "--note-file", "/nowhere", "--as", "olga-operator").code
        == 10
    )
