"""Children that say much, fail, hang or answer nonsense."""

import os
from pathlib import Path

import pytest

import vault
from vault.child_process import run_child
from vault.errors import HostFailure, IntegrityFailure
from vault.jobs import Cancelled, no_progress

CHILD = "tests.unit.vault.speaking_child"


def test_an_answer_comes_back_with_its_exit_code() -> None:
    assert run_child(CHILD, ["answers"], no_progress) == (0, {"records": 5})
    assert run_child(CHILD, ["violated"], no_progress) == (7, {"checks": []})


@pytest.mark.timeout(60)
def test_an_answer_larger_than_a_pipe_beside_much_progress_is_no_deadlock() -> None:
    told: list[int] = []
    _, document = run_child(CHILD, ["large"], lambda percent, _sentence: told.append(percent))
    assert len(document["text"]) == 1_000_000
    assert set(told) == {50}
    assert len(told) >= 3000


def test_what_a_failing_child_said_last_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(HostFailure) as caught:
        run_child(CHILD, ["fails"], no_progress)
    assert caught.value.hint.endswith("The log is damaged.")
    assert len(caught.value.hint) <= 300
    assert "ended with 3" in caplog.text


def test_a_child_that_fails_without_a_word_points_to_the_log() -> None:
    with pytest.raises(HostFailure) as caught:
        run_child(CHILD, ["silent-failure"], no_progress)
    assert caught.value.hint == "Look at the daemon's log."


def test_an_answer_that_is_no_document_is_refused() -> None:
    with pytest.raises(HostFailure, match="no result"):
        run_child(CHILD, ["no-json"], no_progress)
    with pytest.raises(IntegrityFailure, match="wrong shape"):
        run_child(CHILD, ["list"], no_progress)


def test_progress_that_makes_no_sense_is_passed_over() -> None:
    told: list[int] = []
    assert run_child(CHILD, ["odd-progress"], lambda percent, _sentence: told.append(percent)) == (0, {})
    assert told == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, ValueError])
def test_a_child_dies_with_the_work_that_wanted_it(tmp_path: Path, interrupt: type[BaseException]) -> None:
    pid_file = tmp_path / "pid"

    def stop(_percent: int, _sentence: str) -> None:
        raise interrupt("enough")

    with pytest.raises(interrupt):
        run_child(CHILD, ["hangs", str(pid_file)], stop)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


@pytest.mark.timeout(60)
def test_work_that_is_cancelled_while_its_child_says_nothing_ends_the_child(tmp_path: Path) -> None:
    pid_file, told = tmp_path / "pid", []

    def stop_at_the_third(percent: int, sentence: str) -> None:
        told.append((percent, sentence))
        if len(told) == 3:
            raise Cancelled("The job was cancelled.")

    with pytest.raises(Cancelled):
        run_child(CHILD, ["hangs", str(pid_file)], stop_at_the_third)
    assert told == [(10, "Begun.")] * 3
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


@pytest.mark.timeout(60)
def test_a_child_that_never_stops_answering_is_ended() -> None:
    with pytest.raises(HostFailure):
        run_child(CHILD, ["endless"], no_progress)


def test_nothing_is_imported_from_the_folder_the_daemon_was_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/__init__.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    _, found = run_child(CHILD, ["where"], no_progress)
    assert Path(found["path"]) == Path(vault.__file__).parents[1]
