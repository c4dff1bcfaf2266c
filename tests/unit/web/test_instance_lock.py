from dataclasses import replace
from pathlib import Path

import pytest

from vault.config import Settings
from web.instance_lock import FILE_NAME, DaemonRunning, InstanceLock, running_pid


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    data_dir = tmp_path / "main"
    data_dir.mkdir()
    return replace(Settings(), data_dir=data_dir)


def test_a_second_daemon_is_refused_while_the_first_lives(settings: Settings) -> None:
    lock = InstanceLock.take(settings)
    with pytest.raises(DaemonRunning) as refused:
        InstanceLock.take(settings)
    assert refused.value.exit_code == 5
    lock.release()
    InstanceLock.take(settings).release()


def test_the_pid_is_told_only_while_the_lock_is_held(settings: Settings) -> None:
    assert running_pid(settings) is None
    lock = InstanceLock.take(settings)
    lock.write_pid(4711)
    assert running_pid(settings) == 4711
    lock.release()
    assert running_pid(settings) is None


def test_a_pid_file_left_by_a_killed_daemon_stops_nobody(settings: Settings) -> None:
    # The number may belong to another program by now: nobody must be sent a signal for it.
    (settings.data_dir / FILE_NAME).write_text("1\n")
    assert running_pid(settings) is None
    lock = InstanceLock.take(settings)
    lock.release()
