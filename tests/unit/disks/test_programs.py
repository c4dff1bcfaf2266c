import itertools
import os
import sys
import time
from pathlib import Path

import pytest

from vault.disks.files import host_failure, publish
from vault.disks.programs import (
    ProgramFailed,
    encrypted_disk,
    run_program,
    run_with_progress,
    secret_pipe,
)
from vault.errors import Conflict, HostFailure
from vault.keystore.secret import SecretBytes


def test_a_secret_goes_through_a_pipe_once(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    program = f"import sys; open({str(seen)!r}, 'wb').write(sys.stdin.buffer.read())"
    with secret_pipe(SecretBytes(b"secret\n")) as pipe:
        run_program([sys.executable, "-c", program], "read a secret", stdin=pipe)
        assert os.read(pipe, 10) == b""
    assert seen.read_bytes() == b"secret\n"


def test_a_program_gets_a_small_fixed_environment(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    program = f"import os; open({str(seen)!r}, 'w').write(' '.join(sorted(os.environ)))"
    run_program([sys.executable, "-c", program], "look around")
    assert set(seen.read_text().split()) <= {"LC_ALL", "LC_CTYPE", "PATH"}


def test_a_failure_is_one_sentence_and_its_detail_goes_to_the_daemons_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ProgramFailed) as failure:
        run_program([sys.executable, "-c", "import sys; sys.exit('the detail')"], "do it")
    assert "could not do it" in failure.value.message
    assert "the detail" not in f"{failure.value.message}{failure.value.hint}"
    assert "the detail" in caplog.text


def test_a_full_disk_is_said_and_is_no_failure_to_try_again() -> None:
    program = "import sys; sys.exit('qemu-img: error: No space left on device')"
    with pytest.raises(HostFailure, match="no space left to do it") as failure:
        run_program([sys.executable, "-c", program], "do it")
    assert not isinstance(failure.value, ProgramFailed)


def test_a_program_that_is_no_program_is_a_host_failure(tmp_path: Path) -> None:
    broken = tmp_path / "qemu-img"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    with pytest.raises(HostFailure, match="could not be started"):
        run_program([str(broken)], "do it")
    with pytest.raises(HostFailure, match="is not installed"):
        run_with_progress([str(tmp_path / "absent")], "do it", lambda _done: None)


def test_progress_is_told_in_per_mille_and_only_when_it_changes() -> None:
    program = (
        "import sys, time\n"
        "for part in ('0.00', '0.01', '12.34', '12.39', '99.95', '100.00'):\n"
        "    sys.stdout.write(f'    ({part}/100%)\\r'); sys.stdout.flush(); time.sleep(0.05)\n"
    )
    seen: list[int] = []
    run_with_progress([sys.executable, "-c", program], "copy", seen.append)
    # While nothing new is said the last is told again, so that whoever listens can stop it.
    assert [done for done, _ in itertools.groupby(seen)] == [0, 123, 999, 1000]


def test_a_copy_that_says_nothing_is_stopped_by_whoever_listens() -> None:
    def stop(_done: int) -> None:
        raise Conflict("enough")

    begun_at = time.monotonic()
    with pytest.raises(Conflict):
        run_with_progress(["sleep", "60"], "copy", stop)
    assert time.monotonic() - begun_at < 50  # the program would take a minute


def test_commas_in_a_name_do_not_become_options() -> None:
    text = encrypted_disk(Path("/a,encrypt.key-secret=mine/d"))
    assert ",file.filename=/a,,encrypt.key-secret=mine/d," in text
    assert text.startswith("driver=qcow2,file.driver=file,")


def test_a_name_that_was_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    part, target = tmp_path / "d.part", tmp_path / "d"
    part.write_bytes(b"new")
    target.write_bytes(b"precious")
    with pytest.raises(Conflict):
        publish(part, target)
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("errno", "sentence"),
    [
        (28, "no space left"),
        (122, "no space left"),
        (2, "does not exist"),
        (40, "is a link"),
        (5, "Input/output error"),
    ],
)
def test_each_error_of_the_storage_has_its_sentence_and_a_hint(errno: int, sentence: str) -> None:
    failure = host_failure(OSError(errno, "x"), Path("/disk"))
    assert sentence in failure.message
    assert failure.hint
    assert failure.exit_code == 10
