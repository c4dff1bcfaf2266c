import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from policies.errors import StrongroomError
from vault.disks.images.tools import run_tool
from vault.errors import HostFailure
from vault.jobs import Cancelled

ROOT = Path(__file__).parents[3]


def holders(path: Path) -> list[int]:
    """Processes that hold a file open: in a process namespace a program knows itself by another number than we."""
    found: list[int] = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and any(
                fd.is_symlink() and str(fd.readlink()) == str(path) for fd in (process / "fd").iterdir()
            ):
                found.append(int(process.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended meanwhile, or is another's
    return found


def is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_dead(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_alive(pid)


def test_each_line_is_told_also_the_last_without_an_end() -> None:
    lines: list[str] = []
    said = run_tool(["printf", "one\\ntwo\\nthree"], "speak", on_line=lines.append)
    assert lines == ["one", "two", "three"]
    assert said == "one\ntwo\nthree"


def test_its_environment_holds_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_SECRET", "of ours")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    said = run_tool(["env"], "look")
    assert "of ours" not in said
    assert "https_proxy=http://proxy.example:3128" in said


def test_its_temporary_files_lie_where_they_are_removed_with_the_rest(tmp_path: Path) -> None:
    assert Path(run_tool(["mktemp"], "make a file", scratch=tmp_path)).parent == tmp_path


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.disks.images.tools._PATH", "/nonexistent")
    with pytest.raises(HostFailure) as failure:
        run_tool(["sfdisk", "--version"], "partition the image")
    assert "not installed" in failure.value.message
    assert "apt-get install" in failure.value.hint


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("E: something odd", "could not make it"),
        ("cp: error writing: No space left on device", "no space left"),
        ("Err: Could not resolve 'archive'", "archive does not answer"),
    ],
)
def test_a_failure_becomes_one_sentence(line: str, sentence: str) -> None:
    with pytest.raises(HostFailure) as failure:
        run_tool(["sh", "-c", f'echo "{line}" >&2; exit 3'], "make it")
    assert sentence in failure.value.message
    assert failure.value.hint


def test_a_program_that_says_nothing_for_too_long_is_stopped() -> None:
    with pytest.raises(HostFailure, match="said nothing"):
        run_tool(["sleep", "60"], "wait", silence_limit_s=0.3)


def test_a_program_that_says_nothing_is_stopped_by_whoever_waits() -> None:
    def stop() -> None:
        raise Cancelled("The job was cancelled.")

    with pytest.raises(Cancelled):
        run_tool(["sleep", "60"], "wait", on_silence=stop)


@pytest.mark.parametrize("contained", [False, True], ids=["plain", "contained"])
def test_whoever_listens_can_stop_the_program_and_all_it_started(tmp_path: Path, contained: bool) -> None:
    class Cancelled(StrongroomError):
        pass

    pids: list[int] = []
    held = tmp_path / "held"

    def cancel(line: str) -> None:
        pids.extend(holders(held))
        raise Cancelled(line)

    script = 'exec 9>"$1"; echo started; exec sleep 60'
    with pytest.raises(Cancelled, match="started"):
        run_tool(["sh", "-c", script, "sh", held], "wait", on_line=cancel, contained=contained)
    assert pids
    assert all(wait_until_dead(pid) for pid in pids)


def test_a_contained_program_leaves_no_mount_behind(tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    script = 'mount -t tmpfs none "$1" && grep -c " $1 " /proc/self/mountinfo'
    assert run_tool(["sh", "-c", script, "sh", folder], "mount", contained=True) == "1"
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()


def test_when_the_daemon_is_killed_the_program_dies_with_it(tmp_path: Path) -> None:
    held = tmp_path / "held"
    program = (
        "import sys; from vault.disks.images.tools import run_tool\n"
        "run_tool(['sh', '-c', 'exec 9>\"$1\"; sleep 60 & echo started; wait', 'sh', sys.argv[1]], 'wait',\n"
        "         on_line=lambda line: print(line, flush=True), contained=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, held], cwd=ROOT, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"started\n"
        holding = holders(held)
        daemon.kill()
    assert len(holding) == 2
    assert all(wait_until_dead(pid) for pid in holding)


def test_a_program_that_is_started_in_a_thread_lives_as_long_as_it_needs() -> None:
    said: list[str] = []
    thread = threading.Thread(
        target=lambda: said.append(run_tool(["sh", "-c", "sleep 0.3; echo done"], "wait"))
    )
    thread.start()
    thread.join()
    assert said == ["done"]
