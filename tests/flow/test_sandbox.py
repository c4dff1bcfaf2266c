"""The daemon with the rights its systemd unit leaves it: a guest is made, started, stopped, deleted.

No systemd runs where these tests run, so what the unit says is applied by other means: the bounding set, no new
privileges, no core dumps, a tight umask, and a file system that is read-only but for the unit's folders. The system
calls that were made are compared with the unit's filter as systemd knows it.
"""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from tests.browser.running_site import GUEST, RunningSite
from web.cli.units import rendered

pytestmark = pytest.mark.real

UNIT = rendered("strongroom@.service")


def setting(name: str) -> list[str]:
    """What the unit says, all lines of that name together."""
    return " ".join(re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)).split()


class SandboxedSite(RunningSite):
    """A site whose daemon has the unit's rights; the command line has its own."""

    def run(self, *arguments: str, person: str = "ada-admin") -> Any:  # noqa: ANN401 - JSON is what it is
        if arguments[:2] != ("serve", "--background"):
            return super().run(*arguments, person=person)
        bounding = ",".join(
            f"+{one.removeprefix('CAP_').lower()}" for one in setting("CapabilityBoundingSet")
        )
        writable = [*setting("ReadWritePaths"), "/var/cache/strongroom", gettempdir()]
        mounts = "\n".join(f"mount --bind {path} {path}" for path in writable)
        script = (
            f"set -e\n{mounts}\nmount -o remount,bind,ro /\numask 077\n"
            f"exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,{bounding} prlimit --core=0 "
            f"strace -D -f -qq -c -S name -o {self.scratch}/calls {self._program} serve --background\n"
        )
        # A file and no pipe: strace stays for as long as the daemon runs, and would keep a pipe open.
        with (self.scratch / "said").open("wb") as said:
            started = subprocess.run(
                ["unshare", "--mount", "--propagation", "private", "bash", "-c", script],
                env=self._environment(), stdout=said, stderr=said, stdin=subprocess.DEVNULL, check=False, timeout=200,
            )  # fmt: skip
        assert started.returncode == 0, (self.scratch / "said").read_text()
        return None


def calls_of(summary: Path) -> set[str]:
    """The system calls in a summary of strace, once it has ended."""
    until = time.monotonic() + 60
    while time.monotonic() < until and not (summary.is_file() and "total" in summary.read_text()):
        time.sleep(0.1)
    lines = [line.split() for line in summary.read_text().splitlines()]
    return {words[-1] for words in lines if len(words) > 4 and words[0][0].isdigit() and words[-1] != "total"}


def allowed() -> set[str]:
    """The system calls that the unit's filter lets through."""
    found: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", UNIT, re.MULTILINE):
        named = set().union(*(members(name) for name in line.lstrip("~").split()))
        found = found - named if line.startswith("~") else found | named
    return found


def members(name: str) -> set[str]:
    """A set of system calls as systemd knows it, sets within it resolved; a call is itself."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]
    words = [line.strip() for line in listed if line.strip() and not line.strip().startswith("#")]
    return set().union(*(members(word) for word in words))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SandboxedSite]:
    made = SandboxedSite.stand_up(tmp_path)
    yield made
    made.take_down()


def test_a_guest_lives_and_dies_under_the_units_rights(site: SandboxedSite) -> None:
    olga = "olga-operator"
    site.run("guest", "start", GUEST, person=olga)
    assert site.run("guest", "show", GUEST, person=olga)["state"] == "running"
    site.run("guest", "stop", GUEST, "--force", "--timeout", "0", person=olga)
    site.run("guest", "delete", GUEST, "--yes", person=olga)
    site.run("seal")
    site.run("serve", "--stop")
    used = calls_of(site.scratch / "calls")
    assert {"chown", "mlock"} & used or {"fchown", "mlock2"} & used, "nothing was traced"
    assert used <= allowed(), sorted(used - allowed())
