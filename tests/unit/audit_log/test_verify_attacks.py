"""Each attack on an export, by attackers who mend whatever needs no key."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.errors import TrustInvalid
from audit.log import canonical
from audit.log.cosignature import CosignerKey, CosigningKey
from audit.log.merkle import TreeHead, leaf_hash, root_of
from audit.log.note import Note, VerifierKey
from audit.log.record import NO_PREV, Record
from audit.log.signing_key import LogKey
from audit.verify import Trust
from audit.verify.chain import Chain
from audit.verify.lines import BadLine, Lines
from audit.verify.report import BadRecord
from tests.unit.audit_log.exported import Export, honest_export, honest_files, honest_key
from tests.unit.audit_log.parts import DIGEST

BOTH = pytest.mark.parametrize("fields", [True, False], ids=["fields", "quick"])


def changed(line: bytes, **members: object) -> bytes:
    return canonical.encode({**json.loads(line), **members})


def test_the_honest_export_holds() -> None:
    report = honest_export().verify()
    assert report.holds
    assert (report.kind, report.records, report.first_bad) == ("log-export", 40, None)
    assert report.checkpoint is not None
    document = report.document()
    assert set(document) == {"holds", "kind", "records", "first_bad", "checkpoint", "checks"}
    assert document["checkpoint"] == {
        "origin": "strongroom.example/log",
        "size": 40,
        "root": report.checkpoint.head.root.hex(),
    }
    assert [check.name for check in report.checks] == [
        *(
            "files",
            "key",
            "checkpoint",
            "records",
            "root",
            "epochs",
            "ids",
            "inputs",
            "intents",
            "policies",
            "clock",
            "manifest",
        ),
    ]


def test_without_a_trusted_key_the_report_says_that_the_key_is_self_asserted() -> None:
    checks = {check.name: check.detail for check in honest_export().verify(trusted=False).checks}
    assert checks["key"].startswith("SELF-ASSERTED")
    assert "SELF-ASSERTED" not in str(honest_export().verify().document())


def test_a_quick_verification_says_what_it_did_not_read() -> None:
    checks = {check.name: check.detail for check in honest_export().verify(fields=False).checks}
    assert checks["fields"].startswith("NOT READ")


@BOTH
@pytest.mark.parametrize("seq", [0, 1, 17, 38, 39])
@pytest.mark.parametrize("mended", [False, True])
def test_edit_of_a_record_is_found_and_the_record_named(seq: int, *, fields: bool, mended: bool) -> None:
    export = honest_export()
    lines = export.records
    record_id = json.loads(lines[seq])["id"]
    lines[seq] = changed(lines[seq], principal="account:someone-else")
    export.records = lines
    if mended:
        export.mend_manifest()
    failure = export.failure(fields=fields)
    assert (failure.seq, failure.id) == (seq, record_id)
    assert failure.finding == ("log.not_signed" if seq == 39 else "record.changed")
    assert failure.report["first_bad"] == {"seq": seq, "id": record_id, "code": failure.finding}
    assert str(seq) in failure.message


@BOTH
@pytest.mark.parametrize("seq", [0, 1, 17, 38, 39])
def test_edit_with_all_later_links_mended_is_found(seq: int, *, fields: bool) -> None:
    export = honest_export()
    lines = export.records
    lines[seq] = changed(lines[seq], principal="account:someone-else")
    export.records = lines
    failure = export.mend_links(seq + 1).mend_manifest().failure(fields=fields)
    assert (failure.finding, failure.seq) == ("log.not_signed", 39)


@BOTH
@pytest.mark.parametrize("seq", [0, 1, 17, 39, 40])
def test_insert_of_a_record_is_found_and_the_record_named(seq: int, *, fields: bool) -> None:
    export = honest_export()
    lines = export.records
    prev = leaf_hash(lines[seq - 1]).hex() if seq else NO_PREV
    forged = changed(lines[2], seq=seq, prev=prev, id="f" * 32)
    lines.insert(seq, forged)
    export.records = lines
    failure = export.mend_manifest().failure(fields=fields)
    assert failure.seq == seq
    assert failure.finding == ("record.unsigned" if seq == 40 else "record.inserted")


@BOTH
def test_insert_of_several_records_is_found_and_the_first_named(*, fields: bool) -> None:
    export = honest_export()
    lines = export.records
    for seq in (20, 21, 22):
        prev = leaf_hash(lines[seq - 1]).hex()
        lines.insert(seq, changed(lines[2], seq=seq, prev=prev, id=f"{seq:032x}".replace("0", "f")))
    export.records = lines
    failure = export.mend_manifest().failure(fields=fields)
    assert (failure.finding, failure.seq) == ("record.inserted", 20)


@BOTH
@pytest.mark.parametrize("seq", [0, 1, 17, 38])
def test_delete_of_a_record_is_found_and_the_gap_named(seq: int, *, fields: bool) -> None:
    export = honest_export()
    lines = export.records
    del lines[seq]
    export.records = lines
    failure = export.mend_manifest().failure(fields=fields)
    assert (failure.finding, failure.seq, failure.id) == ("record.missing", seq, None)


@BOTH
@pytest.mark.parametrize("seq", [0, 1, 17, 38])
def test_delete_with_all_later_links_mended_is_found(seq: int, *, fields: bool) -> None:
    export = honest_export()
    lines = export.records
    del lines[seq]
    export.records = lines
    failure = export.mend_links(seq).mend_manifest().failure(fields=fields)
    # With an intent gone its outcome is left over; a reader of bytes alone sees a log that is too short.
    expected = {"outcome.without_intent", "log.truncated"} if fields else {"log.truncated"}
    assert failure.finding in expected


@BOTH
@pytest.mark.parametrize("kept", [0, 1, 20, 39])
def test_truncate_is_found_and_the_first_missing_record_named(kept: int, *, fields: bool) -> None:
    export = honest_export()
    export.records = export.records[:kept]
    failure = export.mend_manifest().failure(fields=fields)
    assert (failure.finding, failure.seq, failure.id) == ("log.truncated", kept, None)


@BOTH
@pytest.mark.parametrize("seq", [0, 1, 17, 37, 38])
def test_reorder_of_neighbours_is_found_and_named(seq: int, *, fields: bool) -> None:
    export = honest_export()
    lines = export.records
    lines[seq], lines[seq + 1] = lines[seq + 1], lines[seq]
    export.records = lines
    assert export.mend_manifest().failure(fields=fields).seq == seq


@BOTH
def test_reorder_of_distant_records_is_found_and_named(*, fields: bool) -> None:
    export = honest_export()
    lines = export.records
    lines[5], lines[30] = lines[30], lines[5]
    export.records = lines
    assert export.mend_manifest().failure(fields=fields).seq == 5


@BOTH
@pytest.mark.parametrize("at", [4, 20, 40])
def test_a_repeated_record_is_found_and_named(at: int, *, fields: bool) -> None:
    export = honest_export()
    lines = export.records
    lines.insert(at, lines[3])
    export.records = lines
    failure = export.mend_manifest().failure(fields=fields)
    assert (failure.finding, failure.seq) == ("record.repeated", at)


@BOTH
@pytest.mark.parametrize("seq", [0, 1, 38, 39])
def test_an_edited_link_is_found_and_its_record_named(seq: int, *, fields: bool) -> None:
    export = honest_export()
    lines = export.records
    lines[seq] = changed(lines[seq], prev="ab" * 32)
    export.records = lines
    assert export.mend_manifest().failure(fields=fields).seq == seq


@BOTH
def test_an_edited_record_before_the_last_one_is_told_from_an_edited_last_link(*, fields: bool) -> None:
    export = honest_export()
    lines = export.records
    lines[38] = changed(lines[38], principal="account:someone-else")
    export.records = lines
    assert export.mend_manifest().failure(fields=fields).seq == 38


def test_an_edited_number_is_found_and_its_record_named() -> None:
    for number in (3, 12, 39):
        export = honest_export()
        lines = export.records
        lines[10] = changed(lines[10], seq=number)
        export.records = lines
        failure = export.mend_links(11).mend_manifest()
        lines = failure.records
        lines[10] = changed(lines[10], seq=number)
        export.records = lines
        found = export.mend_manifest().failure()
        assert (found.finding, found.seq) == ("record.sequence", 10)


@BOTH
def test_a_whole_log_replaced_and_signed_with_another_key_is_found_by_the_trusted_key(
    tmp_path: Path, *, fields: bool
) -> None:
    other = LogKey.create(tmp_path / "key", "strongroom.example/log")
    export = honest_export()
    lines = export.records
    lines[7] = changed(lines[7], principal="account:someone-else")
    export.records = lines
    export.mend_links(8).sign(other).mend_manifest()
    assert export.verify(fields=fields, trusted=False).holds  # which is why a trusted key is needed
    failure = export.failure(fields=fields)
    assert failure.finding == "key.not_trusted"
    assert not any(check["holds"] for check in checks_of(failure.report, "key", "checkpoint"))


def checks_of(report: Mapping[str, object], *names: str) -> list[Mapping[str, object]]:
    checks = report["checks"]
    assert isinstance(checks, list)
    return [check for check in checks if check["name"] in names]


def test_the_trusted_key_put_beside_a_foreign_signature_does_not_help(tmp_path: Path) -> None:
    export = honest_export()
    vkey = export.files["log.vkey"]
    export.sign(LogKey.create(tmp_path / "key", "strongroom.example/log"))
    export.files["log.vkey"] = vkey
    assert export.mend_manifest().failure().finding == "checkpoint.invalid"


def test_a_checkpoint_of_another_log_of_the_same_key_is_refused(tmp_path: Path) -> None:
    export = honest_export().sign(honest_key(tmp_path), origin="other.example/log").mend_manifest()
    assert export.failure().finding == "checkpoint.other_log"
    assert export.failure(trusted=False).finding == "checkpoint.other_log"


def test_a_fork_mixed_with_the_other_branchs_checkpoint_is_found(tmp_path: Path) -> None:
    """Two branches, both signed by the key: each holds alone, which only witnesses can tell; mixed they do not."""
    key = honest_key(tmp_path)
    branch = honest_export()
    lines = branch.records
    lines[30] = changed(lines[30], resource="guest:another")
    branch.records = lines
    branch.mend_links(31).sign(key).mend_manifest()
    assert branch.verify().holds
    mixed = honest_export()
    mixed.files["checkpoint"] = branch.files["checkpoint"]
    assert mixed.mend_manifest().failure().finding == "log.not_signed"


def test_an_older_checkpoint_does_not_cover_newer_records(tmp_path: Path) -> None:
    older = honest_export()
    older.records = older.records[:30]
    older.sign(honest_key(tmp_path))
    export = honest_export()
    export.files["checkpoint"] = older.files["checkpoint"]
    failure = export.mend_manifest().failure()
    assert (failure.finding, failure.seq) == ("record.unsigned", 30)


@BOTH
def test_swapped_policy_inputs_are_found(*, fields: bool) -> None:
    """Two records exchange what their decisions were based on."""
    export = honest_export()
    lines = export.records
    first, second = json.loads(lines[0]), json.loads(lines[4])
    assert first["inputs"] != second["inputs"]
    lines[0] = changed(lines[0], inputs=second["inputs"])
    lines[4] = changed(lines[4], inputs=first["inputs"])
    export.records = lines
    assert export.mend_manifest().failure(fields=fields).seq == 0


def test_edited_policy_inputs_are_found_and_a_record_that_names_them() -> None:
    export = honest_export()
    export.files["inputs.jsonl"] = export.files["inputs.jsonl"].replace(b"owner-0", b"owner-9")
    failure = export.mend_manifest().failure()
    assert (failure.finding, failure.seq) == ("inputs.missing", 0)


def test_removed_policy_inputs_are_found() -> None:
    export = honest_export()
    export.files["inputs.jsonl"] = b""
    failure = export.mend_manifest().failure()
    assert (failure.finding, failure.seq) == ("inputs.missing", 0)


@pytest.mark.parametrize("extra", [b'{"context":{},"entities":[]}\n', "repeat"])
def test_added_policy_inputs_are_found(extra: bytes | str) -> None:
    export = honest_export()
    inputs = export.files["inputs.jsonl"]
    export.files["inputs.jsonl"] = inputs + (inputs if isinstance(extra, str) else extra)
    assert export.mend_manifest().failure().finding == "inputs.unnamed"


@pytest.mark.parametrize("bad", [b"{}\n", b'{"context":{}, "entities":[]}\n', b"x", b"x" * (3 << 20)])
def test_policy_inputs_that_are_none_are_found(bad: bytes) -> None:
    export = honest_export()
    export.files["inputs.jsonl"] += bad
    assert export.mend_manifest().failure().finding == "inputs.malformed"


@pytest.mark.parametrize("attack", ["edit", "rename", "remove", "add", "replace"])
def test_a_changed_policy_bundle_is_found(attack: str) -> None:
    export = honest_export()
    folder = f"policies/{DIGEST}"
    policy = export.files[f"{folder}/base.cedar"]
    if attack == "edit":
        export.files[f"{folder}/base.cedar"] = policy.replace(b"permit", b"forbid")
    elif attack == "rename":
        export.files[f"{folder}/other.cedar"] = export.files.pop(f"{folder}/base.cedar")
    elif attack == "remove":
        del export.files[f"{folder}/base.cedar"]
    elif attack == "add":
        export.files[f"{folder}/Strange Name"] = policy
    else:
        export.files = {name.replace(DIGEST, "ab" * 32): data for name, data in export.files.items()}
    failure = export.mend_manifest().failure()
    assert failure.finding == "bundle.missing"
    assert not any(check["holds"] for check in checks_of(failure.report, "policies", "records"))


def test_an_added_policy_bundle_is_found() -> None:
    export = honest_export()
    data = b"permit(principal, action, resource);"
    from audit.log.bundle_files import bundle_digest  # noqa: PLC0415 - only here

    export.files[f"policies/{bundle_digest({'a.cedar': data})}/a.cedar"] = data
    assert export.mend_manifest().failure().finding == "bundle.unnamed"


@BOTH
def test_a_removed_checkpoint_is_not_a_pass(*, fields: bool) -> None:
    """systemd verifies an unsealed journal as PASS (systemd#15425): an absent protection must fail."""
    export = honest_export()
    del export.files["checkpoint"]
    failure = export.mend_manifest().failure(fields=fields)
    assert failure.finding == "file.missing"
    assert [check["holds"] for check in checks_of(failure.report, "checkpoint")] == [False]


@BOTH
def test_a_removed_signature_is_not_a_pass(*, fields: bool) -> None:
    export = honest_export()
    text, _, _ = export.files["checkpoint"].partition(b"\n\n")
    for rest in (b"\n", b"\n\n", "\n\n\u2014 other.example AAAAAAAA\n".encode()):
        export.files["checkpoint"] = text + rest
        assert export.mend_manifest().failure(fields=fields).finding == "checkpoint.invalid"


@pytest.mark.parametrize(
    "name",
    [
        "records.jsonl",
        "inputs.jsonl",
        "log.vkey",
        "epochs.jsonl",
        "manifest.json",
        f"policies/{DIGEST}/base.cedar",
    ],
)
@pytest.mark.parametrize("mended", [False, True])
def test_a_removed_file_is_not_a_pass(name: str, *, mended: bool) -> None:
    export = honest_export()
    del export.files[name]
    if mended and name != "manifest.json":
        export.mend_manifest()
    export.failure()


def test_without_any_key_nothing_is_believed() -> None:
    export = honest_export()
    del export.files["log.vkey"]
    failure = export.mend_manifest().failure(trusted=False)
    assert [check["holds"] for check in checks_of(failure.report, "key", "checkpoint")] == [False, False]


@pytest.mark.parametrize("name", sorted(dict(honest_files()[0])))
def test_a_changed_file_is_found_by_the_manifest(name: str) -> None:
    if name == "manifest.json":
        return
    export = honest_export()
    export.files[name] += b"\n"
    failure = export.failure()
    assert [check["holds"] for check in checks_of(failure.report, "manifest")] == [False]


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b'{"files":{},"v":1}\n',
        b'{"files":{},"v":2}\n',
        b'{"files":[],"v":1}\n',
        b'{"files":{"records.jsonl":1},"v":1}\n',
        b'{"files":{},"more":1,"v":1}\n',
        b"\xff\n",
    ],
)
def test_a_changed_manifest_is_found(manifest: bytes) -> None:
    export = honest_export()
    export.files["manifest.json"] = manifest
    assert export.failure().finding in {"manifest.malformed", "manifest.incomplete"}


def test_a_file_taken_off_the_manifest_is_found() -> None:
    export = honest_export()
    manifest = json.loads(export.files["manifest.json"])
    del manifest["files"][f"policies/{DIGEST}/base.cedar"]
    export.files["manifest.json"] = canonical.encode(manifest) + b"\n"
    assert export.failure().finding == "file.added"


def test_a_file_listed_and_absent_is_found() -> None:
    export = honest_export()
    manifest = json.loads(export.files["manifest.json"])
    manifest["files"]["more"] = "ab" * 32
    export.files["manifest.json"] = canonical.encode(manifest) + b"\n"
    assert export.failure().finding == "file.missing"


def test_an_auditors_own_notes_beside_the_export_are_not_mistaken_for_it() -> None:
    export = honest_export()
    export.files["notes.txt"] = b"looked at on Monday"
    checks = {check.name: check.detail for check in export.verify().checks}
    assert "1 files beside it" in checks["manifest"]


def test_key_epochs_that_cannot_be_verified_are_not_a_pass() -> None:
    export = honest_export()
    export.files["epochs.jsonl"] = b"{}\n"
    assert export.mend_manifest().failure().finding == "epoch.invalid"


def test_a_timestamp_that_the_trust_file_demands_and_is_absent_is_not_a_pass() -> None:
    export = honest_export()
    export.trust = Trust.parse({"log_vkey": honest_files()[1], "timestamp_roots": ["r"]})
    assert export.failure().finding == "trust.unmet"


def cosigned(export: Export, *witnesses: CosigningKey, of: bytes | None = None) -> Export:
    """The export, whose checkpoint these witnesses cosigned."""
    note = Note.parse(export.files["checkpoint"])
    text = note.untrusted_text if of is None else of
    lines = tuple(key.cosign(text, datetime(2026, 3, 1, tzinfo=UTC)) for key in witnesses)
    export.files["checkpoint"] = bytes(Note(note.untrusted_text, (*note.signatures, *lines)))
    return export.mend_manifest()


def witness_keys(folder: Path) -> list[CosigningKey]:
    return [CosigningKey.create(folder / f"w{each}.key", f"witness.example/w{each}") for each in range(3)]


def demanding(quorum: int, *witnesses: CosigningKey) -> Trust:
    keys = [key.vkey for key in witnesses]
    return Trust.parse({"log_vkey": honest_files()[1], "witness_vkeys": keys, "quorum": quorum})


def test_a_quorum_of_trusted_witnesses_is_a_pass_and_says_who_and_when(tmp_path: Path) -> None:
    first, second, third = witness_keys(tmp_path)
    export = cosigned(honest_export(), first, third)
    export.trust = demanding(2, first, second, third)
    checks = {check.name: check.detail for check in export.verify().checks}
    assert "w0 at 2026-03-01T00:00:00Z, witness.example/w2" in checks["witnesses"]


def test_too_few_witnesses_or_strangers_or_one_twice_are_not_a_pass(tmp_path: Path) -> None:
    first, second, stranger = witness_keys(tmp_path)
    for signed in ([], [first], [first, stranger], [first, first]):
        export = cosigned(honest_export(), *signed)
        export.trust = demanding(2, first, second)
        assert export.failure().finding == "witness.missing"
    export = honest_export()
    export.trust = demanding(0, first)  # named and not counted: one is demanded
    assert export.failure().finding == "witness.missing"


def test_a_cosignature_of_another_tree_is_not_a_pass_even_beside_enough_good_ones(tmp_path: Path) -> None:
    first, second, _ = witness_keys(tmp_path)
    export = cosigned(cosigned(honest_export(), first), second, of=b"another tree\n")
    export.trust = demanding(1, first, second)
    assert export.failure().finding == "witness.invalid"


def test_one_witness_key_under_two_names_does_not_make_a_quorum(tmp_path: Path) -> None:
    first, _, _ = witness_keys(tmp_path)
    alias = str(CosignerKey("alias.example", CosignerKey.parse(first.vkey).public))
    for keys in ([first.vkey, alias], [first.vkey, first.vkey], [honest_files()[1]], ["w"]):
        with pytest.raises(TrustInvalid):
            Trust.parse({"witness_vkeys": keys, "quorum": 1})


def test_another_origin_than_the_trusted_one_is_not_a_pass() -> None:
    export = honest_export()
    export.trust = Trust(origin="other.example/log", log_vkey=VerifierKey.parse(honest_files()[1]))
    assert export.failure().finding == "checkpoint.other_log"


def test_an_outcome_given_twice_is_found_even_when_signed(tmp_path: Path) -> None:
    """A writer gone wrong, not an outsider: the tree is as signed, but the records contradict each other."""
    export = honest_export()
    lines = export.records
    lines.append(changed(lines[1], id="e" * 32))
    export.records = lines
    failure = export.mend_links(40).sign(honest_key(tmp_path)).mend_manifest().failure()
    assert (failure.finding, failure.seq, failure.id) == ("outcome.without_intent", 40, "e" * 32)


def test_an_id_used_twice_is_found_even_when_signed(tmp_path: Path) -> None:
    export = honest_export()
    lines = export.records
    lines += [changed(lines[2], seq=40), changed(lines[3], seq=41), changed(lines[2], seq=42)]
    export.records = lines
    failure = export.mend_links(40).sign(honest_key(tmp_path)).mend_manifest().failure()
    assert (failure.finding, failure.seq) == ("record.id_repeated", 40)


def test_an_earlier_repeated_id_is_named_rather_than_a_later_edit(tmp_path: Path) -> None:
    export = honest_export()
    lines = export.records
    lines[6] = changed(lines[6], id=json.loads(lines[2])["id"])
    export.records = lines
    export.mend_links(7).sign(honest_key(tmp_path))
    lines = export.records
    lines[20] = changed(lines[20], principal="account:someone-else")
    export.records = lines
    assert export.mend_manifest().failure().seq == 6


def test_a_clock_set_back_is_said_and_does_not_fail_the_log(tmp_path: Path) -> None:
    export = honest_export()
    lines = export.records
    for seq in (10, 20):
        lines[seq] = changed(lines[seq], at="2020-01-01T00:00:00.000000Z")
    export.records = lines
    export.mend_links(10).sign(honest_key(tmp_path)).mend_manifest()
    checks = {check.name: check for check in export.verify().checks}
    assert checks["clock"].holds
    assert "set back 2 times, first at record 10" in checks["clock"].detail


def test_accesses_still_going_on_at_the_end_are_said(tmp_path: Path) -> None:
    export = honest_export()
    export.records = export.records[:1]
    export.files["inputs.jsonl"] = b"".join(
        line + b"\n" for line in export.files["inputs.jsonl"].splitlines() if b"owner-0" in line
    )
    checks = {
        check.name: check.detail
        for check in export.sign(honest_key(tmp_path)).mend_manifest().verify().checks
    }
    assert "1 accesses were not over yet" in checks["intents"]


def feed_all(blocks: Iterable[Sequence[bytes]], signed: TreeHead) -> None:
    """Bytes, links and root: what a quick verification does with the records."""
    chain = Chain(None, signed.size)
    for lines in blocks:
        chain.feed(lines)
    chain.finish(signed)


def test_a_signed_record_that_is_none_is_found_without_reading_fields() -> None:
    """Without a look at fields only the links speak; a forger who mends them meets the signed root."""
    lines = honest_export().records
    head = TreeHead(20, root_of([leaf_hash(line) for line in lines[:20]]))
    forged = [*lines[:19], lines[19].replace(b'"v":1', b'"v":9')]
    for line in lines[20:]:
        forged.append(changed(line, prev=leaf_hash(forged[-1]).hex()))
    with pytest.raises(BadRecord) as failure:
        feed_all([forged], head)
    assert (failure.value.bad.seq, failure.value.bad.id) == (19, None)


@BOTH
def test_two_edits_side_by_side_are_found(*, fields: bool) -> None:
    export = honest_export()
    lines = export.records
    lines[10] = changed(lines[10], principal="account:someone-else")
    lines[12] = b"no record at all"
    export.records = lines
    assert export.mend_manifest().failure(fields=fields).seq in {10, 11}


def test_every_single_byte_flip_in_the_records_is_found_and_its_record_named() -> None:
    """Every byte of 40 records, with the manifest mended: what is left is the chain and the signed tree."""
    export = honest_export()
    data = export.files["records.jsonl"]
    checkpoint = export.verify().checkpoint
    assert checkpoint is not None
    starts = [0]
    for line in export.records:
        starts.append(starts[-1] + len(line) + 1)
    owner = -1
    for position in range(len(data)):
        owner += position == starts[owner + 1]
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        with pytest.raises((BadRecord, BadLine)) as failure:
            feed_all(Lines(BytesIO(bytes(flipped))), checkpoint.head)
        if isinstance(failure.value, BadRecord):
            assert failure.value.bad.seq == owner, (position, failure.value.bad)
        else:
            assert position == len(data) - 1  # the last line feed


@pytest.mark.parametrize("name", sorted(dict(honest_files()[0])))
def test_single_byte_flips_in_each_file_are_found(name: str) -> None:
    export = honest_export()
    data = export.files[name]
    step = 1 if len(data) < 2000 else 97
    for position in range(0, len(data), step):
        attacked = export.copy()
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        attacked.files[name] = bytes(flipped)
        if name != "manifest.json":
            attacked.mend_manifest()
        failure = attacked.failure()
        if name == "records.jsonl":
            assert failure.seq == data.count(b"\n", 0, position)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_rearrangement_of_the_records_is_found(data: st.DataObject) -> None:
    export = honest_export()
    lines = export.records
    chosen = data.draw(st.lists(st.sampled_from(range(40)), min_size=30, max_size=45))
    if chosen == list(range(40)):
        return
    export.records = [lines[seq] for seq in chosen]
    failure = export.mend_manifest().failure()
    first = next((at for at, seq in enumerate(chosen) if at != seq), len(chosen))
    assert failure.seq == first


def test_the_flipped_record_is_named_across_blocks_of_reading() -> None:
    """The neighbours that decide whose fault a bad link is may lie in different blocks."""
    lines = honest_export().records
    checkpoint = honest_export().verify().checkpoint
    assert checkpoint is not None
    for seq in range(40):
        forged = [*lines]
        forged[seq] = changed(lines[seq], principal="account:someone-else")
        for width in (1, 2, 3, 7):
            with pytest.raises(BadRecord) as failure:
                feed_all([forged[start : start + width] for start in range(0, 40, width)], checkpoint.head)
            assert failure.value.bad.seq == seq
            assert failure.value.bad.id == Record.parse(forged[seq]).id
