"""The child process that makes reports: its files, its progress, its sentences and exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from audit.report.make import main
from policies.errors import ExitCode
from tests.unit.evidence.examples import busy_month, changed, healthy_facts, passphrase_seal
from tests.unit.evidence.written_log import WrittenLog, write_log

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def written(tmp_path: Path) -> WrittenLog:
    return write_log(tmp_path, busy_month().events)


@pytest.fixture
def arguments(written: WrittenLog, tmp_path: Path) -> dict[str, str]:
    snapshot = tmp_path / "snapshot.json"
    snapshot.write_bytes(written.facts(passphrase_seal(healthy_facts())).to_bytes())
    return {
        "--snapshot": str(snapshot),
        "--log": str(written.path),
        "--framework": "hipaa",
        "--from": "2026-03-01T00:00:00Z",
        "--to": "2026-04-01T00:00:00Z",
        "--out": str(tmp_path / "out"),
    }


def _flat(arguments: dict[str, str]) -> list[str]:
    return [word for pair in arguments.items() for word in pair]


def _refusal(
    arguments: dict[str, str], capsys: pytest.CaptureFixture[str], **changes: str
) -> tuple[int, str]:
    given = arguments | {f"--{name}": value for name, value in changes.items()}
    code = main(_flat(given))
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, lines
    return code, lines[0]


def test_as_a_process_it_writes_its_files_tells_of_them_and_shows_its_progress(
    arguments: dict[str, str],
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "audit.report.make", *_flat(arguments)],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    files = [Path(each["path"]) for each in told["files"]]
    assert [path.suffix for path in files[:3]] == [".pdf", ".html", ".json"]
    assert {path.suffix for path in files[3:]} == {".csv"}
    assert [path.stat().st_size for path in files] == [each["size_bytes"] for each in told["files"]]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert sorted(path.name for path in Path(arguments["--out"]).iterdir()) == sorted(p.name for p in files)
    assert told["sentence"].startswith(
        f"{told['summary']['tested']} of {told['summary']['controls']} controls"
    )
    fractions = [json.loads(line)["fraction"] for line in done.stderr.splitlines()]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)


def test_made_again_from_the_same_snapshot_every_file_is_the_same(
    arguments: dict[str, str], tmp_path: Path
) -> None:
    assert main(_flat(arguments)) == 0
    assert main(_flat(arguments | {"--out": str(tmp_path / "again")})) == 0
    for path in Path(arguments["--out"]).iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_the_json_form_holds_report_and_evaluation(arguments: dict[str, str]) -> None:
    assert main(_flat(arguments | {"--framework": "pci"})) == 0
    path = next(Path(arguments["--out"]).glob("*.json"))
    document = json.loads(path.read_bytes())
    assert document["v"] == 1
    assert document["evaluation"]["framework"] == "pci"
    assert document["report"]["cover"]["title"] == "PCI DSS v4.0.1"


def test_a_log_that_does_not_verify_still_makes_a_report_that_says_so(
    arguments: dict[str, str], written: WrittenLog, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = written.facts(healthy_facts())
    other = changed(facts, "log", checkpoint="nonsense")
    Path(arguments["--snapshot"]).write_bytes(other.to_bytes())
    assert main(_flat(arguments)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["summary"]["counts"]["NOT-SATISFIED"] > 0
    page = next(Path(arguments["--out"]).glob("*.html")).read_text()
    assert "DOES NOT VERIFY" in page


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"framework": "soc2"}, "There is no framework 'soc2'. Choose hipaa or pci."),
        ({"from": "2026-04-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"}, "must be before"),
        ({"from": "2026-03-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"}, "must be before"),
        ({"from": "last month"}, "is not a time in RFC 3339 UTC"),
        ({"snapshot": "/nowhere/snapshot.json"}, "cannot be opened"),
    ],
)
def test_bad_input_is_refused_in_one_sentence_with_exit_code_2(
    arguments: dict[str, str], capsys: pytest.CaptureFixture[str], changes: dict[str, str], sentence: str
) -> None:
    code, said = _refusal(arguments, capsys, **changes)
    assert code == ExitCode.BAD_INPUT
    assert sentence in said
    assert not Path(arguments["--out"]).exists()


def test_a_missing_argument_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--framework", "hipaa"]) == ExitCode.BAD_INPUT
    assert "required" in capsys.readouterr().err


def test_a_missing_log_is_exit_code_9(arguments: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    code, said = _refusal(arguments, capsys, log="/nowhere/log.db")
    assert code == ExitCode.LOG_UNAVAILABLE
    assert "missing" in said


def test_a_folder_that_cannot_be_written_is_exit_code_10_and_leaves_nothing(
    arguments: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    code, said = _refusal(arguments, capsys, out=str(tmp_path / "file"))
    assert code == ExitCode.HOST_FAILURE
    assert "cannot be written" in said
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_period_without_records_makes_a_report_without_a_pass_from_the_log(
    arguments: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    empty = {"--from": "2027-01-01T00:00:00Z", "--to": "2027-02-01T00:00:00Z", "--framework": "pci"}
    assert main(_flat(arguments | empty)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["records"] == {"covered": 36, "in_period": 0}
    assert told["summary"]["counts"]["NO-POPULATION"] > 2
