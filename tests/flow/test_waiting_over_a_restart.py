"""A command line that waits for long work while its daemon is killed, and while it is stopped and started again."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.guest_host import FakeGuestHost
from tests.free_port import free_port
from tests.sites import OPERATOR, PASSWORD, PreparedSite, prepared_site, write_bootable_image
from web.instance_lock import running_pid

pytestmark = pytest.mark.real
PROGRAM = Path(sys.executable).with_name("strongroom")
#: Copying and hashing this takes longer than anything here needs to catch it at work.
LARGE = 6 * 2**30


@dataclass
class Daemon:
    """A real daemon of a site, and the command line to it."""

    prepared: PreparedSite
    environment: dict[str, str]

    def run(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON is what it is
        """Run a command to its end; its JSON document."""
        ended = subprocess.run(
            [PROGRAM, "--json", "--as", OPERATOR, *arguments],
            env=self.environment,
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert ended.returncode == 0, (arguments, ended.stderr)
        return json.loads(ended.stdout)

    def start_waiting(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command that waits."""
        return subprocess.Popen(
            [PROGRAM, "--json", "--as", OPERATOR, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def job_at_work(self) -> dict[str, Any]:
        """The newest job, once it is in the midst of its work."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for job in self.run("job", "list", "--limit", "1")["items"]:
                if job["state"] == "running" and job["percent"] > 0:
                    return dict(job)
            time.sleep(0.2)
        raise AssertionError("no job came to work")

    def worker(self) -> int:
        """Process id of the worker."""
        master = running_pid(self.prepared.settings)
        (worker,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return int(worker)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    scratch = tmp_path_factory.mktemp("waiting")
    with prepared_site(FakeGuestHost()) as prepared:
        environment = os.environ | {
            "STRONGROOM_DATA_DIR": str(prepared.settings.data_dir),
            "STRONGROOM_CACHE_DIR": str(prepared.settings.cache_dir),
            "STRONGROOM_PORT": str(free_port()),
            "STRONGROOM_CREDENTIALS": str(scratch / "credentials.json"),
        }
        found = Daemon(prepared, environment)
        password = scratch / "password"
        password.touch(mode=0o600)
        password.write_text(f"{PASSWORD}\n")
        write_bootable_image(prepared.settings.data_dir / "large.raw", LARGE)
        try:
            found.run("serve", "--background")
            found.run("login", OPERATOR, "--password-file", str(password))
            yield found
        finally:
            with contextlib.suppress(AssertionError):
                found.run("serve", "--stop")


def test_a_command_line_waits_for_the_daemon_that_was_killed_and_ends_with_the_image(daemon: Daemon) -> None:
    source = str(daemon.prepared.settings.data_dir / "large.raw")
    waiting = daemon.start_waiting("image", "import", "over-a-kill", source, "--format", "raw")
    job = daemon.job_at_work()
    os.kill(daemon.worker(), signal.SIGKILL)
    out, err = waiting.communicate(timeout=240)
    assert waiting.returncode == 0, err
    assert json.loads(out)["name"] == "over-a-kill"
    ended = daemon.run("job", "show", job["id"])
    assert (ended["state"], ended["attempt"]) == ("done", 2)
    assert [image["name"] for image in daemon.run("image", "list")["items"]].count("over-a-kill") == 1


def test_a_command_line_that_waits_is_told_when_somebody_cancels(daemon: Daemon) -> None:
    source = str(daemon.prepared.settings.data_dir / "large.raw")
    waiting = daemon.start_waiting("image", "import", "cancelled", source, "--format", "raw")
    job = daemon.job_at_work()
    cancelled = daemon.run("job", "cancel", job["id"])
    assert (cancelled["state"], cancelled["error"]["code"]) == ("cancelled", "job.cancelled")
    out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 5
    assert json.loads(out)["error"]["code"] == "job.cancelled"
    images = daemon.prepared.settings.data_dir / "images"
    assert list(images.glob("*.part")) == []
