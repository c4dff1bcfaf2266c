"""An auditor takes proofs away by the command line and checks them without us; a log that was cut is found out."""

import json
import re
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient

from audit.log.checkpoint import Checkpoint
from audit.log.cosignature import CosignerKey, CosigningKey
from audit.log.merkle import TreeHead
from audit.log.proof_files import InclusionFile
from audit.log.signing_key import LogKey
from tests.unit.web.fake_daemon import CommandLine
from tests.unit.web.site_under_test import PASSWORD
from vault.config import WitnessAddress
from vault.site import Site
from vault.witnesses.watch import witnesses_of

Auditor = Callable[..., tuple[int, str]]


@pytest.fixture
def anna(
    app: Flask, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    """The command line of the auditor."""
    strongroom = CommandLine(httpx.WSGITransport(app=app), capsys, tmp_path, monkeypatch)
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(f"{PASSWORD}\n")
    assert strongroom("login", "anna-auditor", "--password-file", str(secret)).code == 0
    return strongroom


@pytest.fixture
def trust(anna: CommandLine, tmp_path: Path) -> str:
    """The trust file that the auditor got once."""
    path = tmp_path / "trust.json"
    assert anna("audit", "trust", "--out", str(path)).code == 0
    return str(path)


def test_a_record_is_proved_with_nothing_but_the_trust_file(
    anna: CommandLine, trust: str, tmp_path: Path
) -> None:
    file = tmp_path / "record.tlog-proof"
    made = anna("audit", "prove", "0", "--out", str(file), "--json")
    assert (made.code, made.document["seq"]) == (0, 0)
    held = anna("verify", str(file), "--trust", trust, "--json")
    assert (held.code, held.document["kind"], held.document["holds"]) == (0, "proof", True)
    assert held.document["record"]["seq"] == 0
    assert "Record 0" in anna("verify", str(file), "--trust", trust).out
    # By its id, and printed, it is the same record.
    printed = anna("audit", "prove", made.document["id"])
    assert printed.out.startswith("c2sp.org/tlog-proof@v1\nextra ")


def test_a_record_put_under_the_proof_of_another_is_7_and_named(
    anna: CommandLine, trust: str, tmp_path: Path
) -> None:
    file = tmp_path / "record.tlog-proof"
    anna("audit", "prove", "1", "--out", str(file))
    proof = InclusionFile.parse(file.read_bytes())
    assert proof.record is not None
    lie = proof.record.replace(b'"session.login"', b'"session.logon"')
    assert lie != proof.record
    file.write_bytes(bytes(InclusionFile(proof.index, proof.path, proof.note, lie)))
    ended = anna("verify", str(file), "--trust", trust, "--json")
    assert (ended.code, ended.document["first_bad"]["code"]) == (7, "proof.invalid")


def test_a_proof_is_not_believed_without_a_trust_file(anna: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "record.tlog-proof"
    anna("audit", "prove", "0", "--out", str(file))
    ended = anna("verify", str(file))
    assert (ended.code, "--trust" in ended.err) == (2, True)


def test_a_witness_that_the_trust_file_demands_and_is_absent_is_7(
    anna: CommandLine, trust: str, tmp_path: Path
) -> None:
    file = tmp_path / "record.tlog-proof"
    anna("audit", "prove", "0", "--out", str(file))
    witness = CosigningKey.create(tmp_path / "witness.key", "witness.example/w1").vkey
    demanding = json.loads(Path(trust).read_text()) | {"witness_vkeys": [witness], "quorum": 1}
    Path(trust).write_text(json.dumps(demanding))
    assert anna("verify", str(file), "--trust", trust).code == 7


def test_the_trust_file_names_the_sites_witnesses_when_it_is_asked_to(
    anna: CommandLine, site: Site, tmp_path: Path
) -> None:
    assert anna("audit", "trust", "--witnesses").code == 2  # there are none yet
    key = CosigningKey.create(tmp_path / "witness.key", "witness.example/w1")
    address = WitnessAddress("https://w.example", CosignerKey.parse(key.vkey))
    settings = replace(site.settings, witnesses=(address,))
    site.witnesses = witnesses_of(settings, site.log, site.reader, site.findings)
    named = json.loads(anna("audit", "trust", "--witnesses").out)
    assert (named["witness_vkeys"], named["quorum"]) == ([key.vkey], 1)
    assert "witness_vkeys" not in json.loads(anna("audit", "trust").out)


def test_the_code_on_the_paper_page_scans_and_an_export_is_held_against_it(
    anna: CommandLine, tmp_path: Path
) -> None:
    page = tmp_path / "page.pdf"
    assert anna("audit", "paper", "--out", str(page)).code == 0
    assert anna("audit", "paper", "--out", str(page)).code == 2  # never written over
    picture = tmp_path / "page"
    subprocess.run(["pdftoppm", "-r", "150", "-png", "-singlefile", page, picture], check=True, timeout=60)
    scanned = subprocess.run(
        ["zbarimg", "--raw", "-q", "-Sdisable", "-Sqrcode.enable", f"{picture}.png"],
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout
    text = tmp_path / "paper.txt"
    text.write_bytes(b"  " + scanned.replace(b"\n", b"\r\n") + b"\r\n")
    trust = tmp_path / "trust.json"
    anna("audit", "trust", "--out", str(trust))
    export = tmp_path / "export.tar"
    assert anna("audit", "export", "--out", str(export)).code == 0
    assert anna("verify", str(export), "--trust", str(trust), "--paper", str(text)).code == 0
    text.write_bytes(scanned.replace(b"\n", b"\n9", 1))  # another number of records
    assert anna("verify", str(export), "--trust", str(trust), "--paper", str(text)).code == 7
    assert anna("verify", str(export), "--paper", str(tmp_path / "none")).code == 2


def test_growth_since_a_kept_checkpoint_is_proved(anna: CommandLine, trust: str, tmp_path: Path) -> None:
    kept, file = tmp_path / "kept", tmp_path / "growth"
    kept.write_text(anna("audit", "checkpoint").out)
    anna("audit", "list")
    assert anna("audit", "prove", "--consistent-with", str(kept), "--out", str(file)).code == 0
    held = anna("verify", str(file), "--trust", trust, "--noted", str(kept), "--json")
    assert (held.code, held.document["kind"]) == (0, "consistency-proof")
    assert anna("verify", str(kept), "--trust", trust, "--json").document["kind"] == "checkpoint"
    # Without what was kept there is nothing to compare with.
    assert anna("verify", str(file), "--trust", trust).code == 2
    # Another checkpoint than the one that the proof begins at is refused.
    later = tmp_path / "later"
    later.write_text(anna("audit", "checkpoint").out)
    assert anna("verify", str(file), "--trust", trust, "--noted", str(later)).code == 7


def test_a_checkpoint_of_a_log_that_was_rewritten_opens_a_finding(
    anna: CommandLine, site: Site, tmp_path: Path
) -> None:
    # Signed by the log's own key over other records, as before a rollback or a rewrite.
    key = LogKey.load(site.settings.secrets_dir / "log.key")
    other = tmp_path / "other"
    other.write_bytes(Checkpoint(key.name, TreeHead(1, bytes(32))).sign([key]))
    ended = anna("audit", "prove", "--consistent-with", str(other), "--json")
    assert ended.code == 7
    longer = tmp_path / "longer"
    longer.write_bytes(Checkpoint(key.name, TreeHead(10_000, bytes(32))).sign([key]))
    assert anna("audit", "prove", "--consistent-with", str(longer)).code == 7
    assert {finding.code for finding in site.findings.all_open()} == {"log.checkpoint_contradicted"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["audit", "prove"], 2),
        (["audit", "prove", "0", "--consistent-with", "KEPT"], 2),
        (["audit", "prove", "99999"], 4),
        (["audit", "prove", "no-such-id"], 4),
        (["audit", "prove", "99999999999999999999"], 4),
        (["audit", "prove", "0", "--out", "KEPT"], 2),
        (["audit", "prove", "--consistent-with", "NOWHERE"], 2),
        (["audit", "prove", "--consistent-with", "KEPT"], 2),
        (["audit", "trust", "--out", "KEPT"], 2),
        (["verify", "KEPT", "--trust", "TRUST"], 7),
        (["verify", "NOWHERE", "--trust", "TRUST"], 2),
        (["verify", "KEPT", "--noted", "NOWHERE", "--trust", "TRUST"], 2),
        (["audit", "replay", "--from", "yesterday", "--to", "2026-01-01"], 2),
        (["audit", "replay", "--from", "2026-02-01", "--to", "2026-01-01"], 2),
    ],
)
def test_the_mistakes_of_a_tired_auditor_get_one_sentence(
    anna: CommandLine, trust: str, tmp_path: Path, arguments: list[str], code: int
) -> None:
    kept = tmp_path / "kept"
    kept.write_text("this is no checkpoint\n")
    places = {"KEPT": str(kept), "NOWHERE": str(tmp_path / "nowhere"), "TRUST": trust}
    ended = anna(*(places.get(each, each) for each in arguments))
    assert (ended.code, ended.err.count("\n")) == (code, 1), ended.err
    assert kept.read_text() == "this is no checkpoint\n"


def test_an_operator_gets_no_proof_and_no_replay(
    anybody: FlaskClient, bearer: Callable[[str], dict[str, str]]
) -> None:
    header = bearer("olga-operator")
    assert anybody.get("/api/v1/log/records/0/proof", headers=header).status_code == 403
    span = {"since": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"}
    job = anybody.post("/api/v1/log/replay", json=span, headers=header).get_json()
    stream = anybody.get(f"/api/v1/jobs/{job['id']}/events", headers=header).text
    assert json.loads(stream.strip().split("data: ")[-1])["error"]["exit"] == 3


def test_tiles_are_exported_and_verified(anna: CommandLine, trust: str, tmp_path: Path) -> None:
    for target in (tmp_path / "tiles", tmp_path / "tiles.tar"):
        assert anna("audit", "export", "--tiles", "--out", str(target)).code == 0
        held = anna("verify", str(target), "--trust", trust, "--json")
        assert (held.code, held.document["kind"], held.document["holds"]) == (0, "log-tiles", True)
    (entries,) = (tmp_path / "tiles/tile/entries").rglob("*.p/*")
    entries.write_bytes(entries.read_bytes().replace(b'"cli"', b'"web"', 1))
    assert anna("verify", str(tmp_path / "tiles"), "--trust", trust).code == 7


def test_every_decision_of_the_site_is_made_again_here_and_offline(
    anna: CommandLine, trust: str, site: Site, tmp_path: Path
) -> None:
    anna("audit", "list")
    replayed = anna("audit", "replay", "--from", "2026-01-01", "--to", "2100-01-01", "--json")
    assert (replayed.code, replayed.document["holds"]) == (0, True), replayed.err
    assert replayed.document["decisions"] > 0
    export = tmp_path / "export"
    anna("audit", "export", "--out", str(export))
    held = anna("verify", str(export), "--trust", trust, "--replay", "--json")
    assert (held.code, held.document["replay"]["different"]) == (0, 0)
    assert held.document["replay"]["decisions"] > replayed.document["decisions"]
    assert site.findings.all_open() == []


def test_a_tampered_input_is_7_with_the_first_record_and_a_finding(anna: CommandLine, site: Site) -> None:
    anna("audit", "list")
    with closing(sqlite3.connect(site.settings.log_db)) as database, database:
        database.execute("DROP TRIGGER inputs_update")
        database.execute("UPDATE inputs SET bytes = CAST(replace(bytes, 'auditor', 'janitor') AS BLOB)")
    ended = anna("audit", "replay", "--from", "2026-01-01", "--to", "2100-01-01", "--json")
    assert ended.code == 7
    assert "Record " in ended.document["error"]["message"]
    assert {finding.code for finding in site.findings.all_open()} == {"log.replay_differs"}


def test_a_replay_of_what_is_no_export_is_bad_usage(anna: CommandLine, trust: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text(anna("audit", "checkpoint").out)
    ended = anna("verify", str(kept), "--trust", trust, "--replay")
    assert (ended.code, "--replay" in ended.err) == (2, True)


def test_the_page_of_a_record_gives_its_proof_as_a_file(anybody: FlaskClient) -> None:
    form = {"name": "anna-auditor", "password": PASSWORD}
    token = re.search(r'name="csrf_token" value="([^"]+)"', anybody.get("/login").text)
    assert token is not None
    own = {"Referer": "https://localhost:8443/"}
    anybody.post("/login", data=form | {"csrf_token": token[1]}, headers=own)
    assert "/log/0/proof" in anybody.get("/log/0", headers={"Accept": "text/html"}).text
    given = anybody.get("/log/0/proof")
    assert given.headers["Content-Disposition"] == 'attachment; filename="record-0.tlog-proof"'
    assert InclusionFile.parse(given.data).index == 0


def test_an_auditor_who_demands_the_epochs_gets_an_export_that_holds_and_a_lone_proof_that_does_not(
    anna: CommandLine, tmp_path: Path
) -> None:
    path, proof = tmp_path / "epochs.json", tmp_path / "proof"
    assert anna("audit", "trust", "--epochs", "--out", str(path)).code == 0
    assert anna("audit", "export", "--out", str(tmp_path / "export")).code == 0
    assert anna("verify", str(tmp_path / "export"), "--trust", str(path)).code == 0
    assert anna("audit", "prove", "0", "--out", str(proof)).code == 0
    assert anna("verify", str(proof), "--trust", str(path)).code == 7
    listed = str(tmp_path / "export" / "epochs.jsonl")
    assert anna("verify", str(proof), "--trust", str(path), "--epochs", listed).code == 0
