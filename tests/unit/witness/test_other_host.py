"""A witness on a network of its own: another namespace, over a cable that is pulled and plugged in again."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from audit.log.note import VerifierKey
from tests.unit.witness.logs import WITNESS
from tests.unit.witness.serving import Served, start
from tests.unit.witness.test_submission import Home, submission
from web.witness.folder import WitnessFolder

# From the addresses that RFC 5737 keeps free for examples: nothing real is hidden behind them.
HERE, THERE = "198.51.100.1", "198.51.100.2"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "site").mkdir()
    home = Home(tmp_path / "site")
    yield home
    home.close()


@pytest.fixture
def cable() -> Iterator[tuple[str, str]]:
    """A namespace and our end of the cable into it."""
    mark = os.getpid() % 100000
    name, near, far = f"srwit{mark}", f"srw{mark}a", f"srw{mark}b"
    ip("netns", "add", name)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        ip("addr", "add", f"{HERE}/30", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", name, "addr", "add", f"{THERE}/30", "dev", far)
        ip("-n", name, "link", "set", far, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield name, near
    finally:
        with suppress(subprocess.CalledProcessError):
            ip("link", "del", near)
        ip("netns", "del", name)


@pytest.fixture
def witness(tmp_path: Path, home: Home, cable: tuple[str, str]) -> Iterator[Served]:
    folder = WitnessFolder.create(tmp_path / "witness", WITNESS, THERE)
    folder.store.trust(VerifierKey.parse(home.reader.vkey))
    served = start(folder, THERE, 8444, ["ip", "netns", "exec", cable[0]])
    yield served
    served.stop()


@pytest.mark.allow_hosts([THERE])
def test_a_witness_on_another_network_is_missed_while_the_cable_is_out(
    home: Home, witness: Served, cable: tuple[str, str]
) -> None:
    now_s = 0.0
    asked = submission(home, witness, 100.0, lambda: now_s)
    home.grow(3)
    assert asked.attempt()
    ip("link", "set", cable[1], "down")
    now_s = 101.0
    home.grow(2)
    assert not asked.attempt()
    assert home.codes() == {"witness.stale"}
    ip("link", "set", cable[1], "up")
    assert asked.attempt()
    assert home.codes() == set()
    assert witness.folder.store.logs()[0].size == home.log.head().size
