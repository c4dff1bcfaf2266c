"""What is not an export, or only half of one, gives one sentence and the right exit code."""

import json
import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from audit.errors import (
    AuditError,
    NotAnExport,
    TrustInvalid,
    VerificationFailed,
    VerificationImpossible,
)
from audit.log.drafting import Prepared, Stamp
from audit.log.record import NO_PREV, inputs_digest, take_apart
from audit.log.shape import MAX_RECORD_BYTES
from audit.verify import Trust, verify_export
from audit.verify.__main__ import main
from audit.verify.meaning import Meaning
from audit.verify.report import BadRecord
from audit.verify.sorted_rows import SortedRows
from tests.unit.audit_log.exported import honest_export, honest_files
from tests.unit.audit_log.parts import DIGEST, access, denied, inputs_of

ROOT = Path(__file__).parents[3]


def one_sentence(error: AuditError) -> bool:
    return error.message.endswith(".") and "\n" not in error.message and "Traceback" not in error.message


def refused(path: Path) -> None:
    with pytest.raises(NotAnExport) as failure:
        verify_export(path)
    assert failure.value.exit_code == 2
    assert one_sentence(failure.value)


@pytest.mark.parametrize("top", ["", "./", "log-2026-03-01/"])
def test_a_tar_of_an_export_is_verified_without_unpacking_it(tmp_path: Path, top: str) -> None:
    (tmp_path / "export.tar").write_bytes(honest_export().tar(top))
    assert verify_export(tmp_path / "export.tar", honest_export().trust).records == 40
    assert [path.name for path in tmp_path.iterdir()] == ["export.tar"]


def test_a_tar_made_with_the_ordinary_tool_is_verified(tmp_path: Path) -> None:
    honest_export().write(tmp_path / "export")
    subprocess.run(["tar", "-cf", "export.tar", "export"], cwd=tmp_path, check=True)
    assert verify_export(tmp_path / "export.tar").holds


def test_a_path_that_leads_nowhere_is_bad_input(tmp_path: Path) -> None:
    refused(tmp_path / "none")


def test_a_folder_without_an_export_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "a").touch()
    refused(tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"text\n", b"\x00" * 10240, b"\x1f\x8b" + b"x" * 1000, b"PK\x03\x04" + b"x" * 1000]
)
def test_a_file_that_is_no_tar_of_an_export_is_bad_input(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    refused(tmp_path / "file")


def test_a_device_is_bad_input() -> None:
    refused(Path("/dev/null"))


def tar_with(path: Path, *members: tarfile.TarInfo) -> Path:
    packed = BytesIO(honest_export().tar())
    with tarfile.open(fileobj=packed, mode="a") as tar:
        for member in members:
            tar.addfile(member, BytesIO(b"x" * member.size))
    path.write_bytes(packed.getvalue())
    return path


@pytest.mark.parametrize(
    "name", ["../records.jsonl", "/etc/passwd", "policies/../../up", "..", "policies/../checkpoint"]
)
def test_a_tar_with_a_name_that_leads_out_of_it_is_bad_input(tmp_path: Path, name: str) -> None:
    refused(tar_with(tmp_path / "export.tar", tarfile.TarInfo(name)))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_tar_with_links_or_devices_is_bad_input(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, "/etc/passwd"
    refused(tar_with(tmp_path / "export.tar", member))


def test_a_tar_with_two_files_of_one_name_is_bad_input(tmp_path: Path) -> None:
    refused(tar_with(tmp_path / "export.tar", tarfile.TarInfo("checkpoint")))


def test_folders_in_a_tar_are_passed_over(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("policies")
    folder.type = tarfile.DIRTYPE
    assert verify_export(tar_with(tmp_path / "export.tar", folder)).holds


def test_a_truncated_tar_is_an_integrity_failure_at_every_length(tmp_path: Path) -> None:
    """Wherever a copy was cut off, it is never taken for a whole export."""
    data = honest_export().tar()
    end = len(data.rstrip(b"\x00"))
    path = tmp_path / "export.tar"
    found = set()
    for length in (*range(0, end, 1009), end - 1):
        path.write_bytes(data[:length])
        try:
            verify_export(path)
        except NotAnExport:
            assert length < 2048
        except VerificationFailed as failure:
            found.add(failure.finding)
        else:
            raise AssertionError(length)
    assert "export.truncated" in found


def test_a_link_in_an_exports_folder_is_not_followed(tmp_path: Path) -> None:
    export = tmp_path / "export"
    honest_export().write(export)
    (export / "records.jsonl").rename(tmp_path / "records.jsonl")
    (export / "records.jsonl").symlink_to(tmp_path / "records.jsonl")
    with pytest.raises(VerificationImpossible):
        verify_export(export)


def test_a_pipe_in_an_exports_folder_does_not_hang(tmp_path: Path) -> None:
    export = tmp_path / "export"
    honest_export().write(export)
    (export / "checkpoint").unlink()
    os.mkfifo(export / "checkpoint")
    with pytest.raises(VerificationFailed):
        verify_export(export)


def test_a_file_that_cannot_be_read_is_a_storage_error(tmp_path: Path) -> None:
    honest_export().write(tmp_path)
    (tmp_path / "records.jsonl").unlink()
    (tmp_path / "records.jsonl").symlink_to("records.jsonl")
    with pytest.raises(VerificationImpossible) as failure:
        verify_export(tmp_path)
    assert failure.value.exit_code == 10
    assert one_sentence(failure.value)


@pytest.mark.parametrize("fields", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_a_line_longer_than_any_record_does_not_exhaust_the_verifier(*, fields: bool, whole: bool) -> None:
    export = honest_export()
    lines = export.records
    export.records = lines[:5]
    huge = b"x" * (4 * MAX_RECORD_BYTES)
    export.files["records.jsonl"] += huge + (b"\n" if whole else b"")
    failure = export.mend_manifest().failure(fields=fields)
    assert (failure.finding, failure.seq) == ("record.malformed", 5)


@pytest.mark.parametrize("name", ["checkpoint", "log.vkey", "manifest.json"])
def test_a_small_file_grown_huge_is_not_believed(name: str) -> None:
    export = honest_export()
    export.files[name] = export.files[name] + b"\n" * (5 << 20)
    export.failure()


def test_records_that_are_not_text_are_an_integrity_failure() -> None:
    for data in (b"\x00" * 1000 + b"\n", b"\n", b"\n" * 100, b"{}\n", b"null\n", b"[" * 100_000 + b"\n"):
        export = honest_export()
        export.files["records.jsonl"] = data
        failure = export.mend_manifest().failure()
        assert (failure.finding, failure.seq) == ("record.malformed", 0)


@pytest.mark.parametrize("vkey", [b"", b"\n", b"no key\n", b"\xff\xff\n", b"a+b+c"])
def test_a_public_key_that_is_none_is_an_integrity_failure(vkey: bytes) -> None:
    export = honest_export()
    export.files["log.vkey"] = vkey
    assert export.mend_manifest().failure(trusted=False).finding == "key.malformed"
    assert export.failure().finding == "key.malformed"  # also when the trusted key would do


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "{",
        '{"unknown": 1}',
        '{"log_vkey": "mistyped"}',
        '{"log_vkey": 5}',
        '{"origin": 5}',
        '{"quorum": 2, "witness_vkeys": ["w"]}',
        '{"quorum": -1}',
        '{"quorum": true}',
        '{"witness_vkeys": "w"}',
        '{"timestamp_roots": {}}',
        "[" * 100_000,
    ],
)
def test_a_trust_file_that_cannot_be_read_as_one_is_bad_input(tmp_path: Path, text: str) -> None:
    (tmp_path / "trust.json").write_text(text)
    with pytest.raises(TrustInvalid) as failure:
        Trust.load(tmp_path / "trust.json")
    assert failure.value.exit_code == 2
    assert one_sentence(failure.value)


def test_a_missing_trust_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(TrustInvalid, match="No such file"):
        Trust.load(tmp_path / "none")


def test_a_trust_file_may_state_the_origin_alone() -> None:
    export = honest_export()
    export.trust = Trust.parse({"origin": "strongroom.example/log"})
    assert export.verify().holds
    export.trust = Trust.parse({"origin": "other.example/log"})
    assert export.failure().finding == "checkpoint.other_log"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "audit.verify", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def test_the_child_process_reports_as_json_with_exit_codes_and_progress(tmp_path: Path) -> None:
    export = honest_export()
    export.write(tmp_path / "honest")
    (tmp_path / "trust.json").write_text(json.dumps({"log_vkey": honest_files()[1]}))
    held = run(str(tmp_path / "honest"), "--trust", str(tmp_path / "trust.json"), "--json")
    assert held.returncode == 0
    assert json.loads(held.stdout)["holds"] is True
    assert [json.loads(line) for line in held.stderr.splitlines()] == [
        {"fraction": 1.0, "sentence": "Verified 40 of 40 records."}
    ]
    export.records = export.records[:-1]
    export.write(tmp_path / "cut")
    cut = run(str(tmp_path / "cut"), "--json", "--quick")
    assert cut.returncode == 7
    assert json.loads(cut.stdout)["first_bad"] == {"seq": 39, "id": None, "code": "log.truncated"}
    assert "Record 39 is missing" in cut.stderr.splitlines()[-1]
    nothing = run(str(tmp_path / "none"), "--json")
    assert nothing.returncode == 2
    assert json.loads(nothing.stdout)["error"]["code"] == "verify.not_an_export"


def test_the_child_process_prints_a_table_for_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = honest_export()
    export.write(tmp_path)
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("holds  files ")
    assert printed.err == "Verified 40 of 40 records.\n"
    export.files["checkpoint"] = b""
    export.write(tmp_path)
    assert main([str(tmp_path)]) == 7
    printed = capsys.readouterr()
    assert "FAILS  checkpoint" in printed.out
    assert main([str(tmp_path / "none")]) == 2
    assert capsys.readouterr().out == ""
    (tmp_path / "trust.json").write_text("{}")
    assert main([str(tmp_path), "--trust", str(tmp_path / "trust.json"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "verify.trust_invalid"


def test_the_verifier_needs_no_database_and_no_policy_engine(tmp_path: Path) -> None:
    honest_export().write(tmp_path)
    code = (
        "import sys\nfrom pathlib import Path\nfrom audit.verify.export import verify_export\n"
        f"assert verify_export(Path({str(tmp_path)!r})).holds\n"
        "loaded = {name for name in sys.modules if name.startswith(('cedarpy', 'sqlmodel', 'sqlalchemy', 'flask', "
        "'audit.log.s'))}\n"
        "sys.exit(str(loaded) if loaded - {'audit.log.shape', 'audit.log.signing_key'} else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_more_rows_than_fit_in_memory_come_back_sorted() -> None:
    rows = [number.to_bytes(4) for number in range(10_000)]
    shuffled = rows[::-2] + rows[::2]
    with SortedRows(4, rows_in_memory=700) as sorter:
        for start in range(0, len(shuffled), 100):
            sorter.extend(shuffled[start : start + 100])
        assert list(sorter) == rows
    with SortedRows(4) as few:
        few.extend(shuffled[:10])
        assert list(few) == sorted(shuffled[:10])


def test_ids_and_inputs_of_a_long_log_are_compared_in_flat_memory() -> None:
    stamp = Stamp("2026-03-01T12:00:00.000000Z", 1, "boot")
    with Meaning([DIGEST], noted_inputs=3) as meaning:
        for seq in range(5000):
            record = Prepared(denied(inputs=inputs_of(seq % 7))).place(seq, NO_PREV, stamp)
            meaning.examine(seq, take_apart(record.bytes))
        assert len(meaning._noted_inputs) <= 3
        meaning.check_ids(5000)
        digests = sorted(bytes.fromhex(inputs_digest(inputs_of(number))) for number in range(7))
        assert meaning.check_inputs(digests) == 7
        with pytest.raises(BadRecord):
            meaning.check_inputs(digests[1:])
        with pytest.raises(LookupError):
            meaning.check_inputs([bytes(32), *digests])
        with pytest.raises(LookupError):
            meaning.check_inputs([*digests, b"\xff" * 32])
        meaning.examine(5000, take_apart(Prepared(access(id=record.id)).place(5000, NO_PREV, stamp).bytes))
        with pytest.raises(BadRecord) as repeated:
            meaning.check_ids(5001)
        assert (repeated.value.bad.seq, repeated.value.bad.id) == (5000, record.id)
        meaning.check_ids(5000)


def test_the_digest_of_the_shipped_bundle_is_the_one_that_policies_compute() -> None:
    from audit.log.bundle_files import bundle_digest  # noqa: PLC0415 - only here
    from policies.bundle import shipped  # noqa: PLC0415 - loads the policy engine

    assert bundle_digest(shipped().files) == shipped().digest
    assert shipped().digest != DIGEST
