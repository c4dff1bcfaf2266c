"""Snapshots of facts: they survive the way through a file, and nothing half-read passes for a fact."""

import json
from pathlib import Path

import pytest

from audit.evidence.errors import SnapshotInvalid
from audit.evidence.facts import Facts
from policies.errors import ExitCode
from tests.unit.evidence.examples import healthy_facts


def _document() -> dict[str, object]:
    document: dict[str, object] = json.loads(healthy_facts().to_bytes())
    return document


def test_facts_survive_the_way_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    path.write_bytes(healthy_facts().to_bytes())
    assert Facts.read(path) == healthy_facts()
    assert Facts.read(path).to_bytes() == path.read_bytes()


def test_instants_are_written_in_utc_with_a_fixed_width() -> None:
    system = _document()["system"]
    assert isinstance(system, dict)
    assert system["extracted_at"] == "2026-03-31T12:00:00.000000Z"


def test_an_unknown_field_is_refused_rather_than_ignored() -> None:
    with pytest.raises(SnapshotInvalid, match="surprise"):
        Facts.from_bytes(json.dumps(_document() | {"surprise": 1}).encode())


def test_a_missing_part_is_refused_and_named() -> None:
    document = _document()
    del document["accounts"]
    with pytest.raises(SnapshotInvalid, match="accounts"):
        Facts.from_bytes(json.dumps(document).encode())


def test_a_number_in_place_of_a_truth_value_is_refused() -> None:
    text = healthy_facts().to_bytes().replace(b'"sealed":false', b'"sealed":0')
    with pytest.raises(SnapshotInvalid, match="sealed"):
        Facts.from_bytes(text)


def test_a_local_time_is_refused() -> None:
    text = healthy_facts().to_bytes().replace(b"2026-03-31T12:00:00.000000Z", b"2026-03-31T12:00:00")
    with pytest.raises(SnapshotInvalid):
        Facts.from_bytes(text)


def test_another_version_is_refused() -> None:
    with pytest.raises(SnapshotInvalid, match="version 2"):
        Facts.from_bytes(json.dumps(_document() | {"v": 2}).encode())


@pytest.mark.parametrize("untrusted", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_what_is_no_snapshot_is_refused_in_one_sentence(untrusted: bytes) -> None:
    with pytest.raises(SnapshotInvalid) as refused:
        Facts.from_bytes(untrusted)
    assert refused.value.exit_code is ExitCode.BAD_INPUT
    assert "\n" not in refused.value.message


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SnapshotInvalid, match="nowhere"):
        Facts.read(tmp_path / "nowhere")
