"""libvirt's daemon is killed in the middle of things: nothing is lost, nothing half-made goes on."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.real
@pytest.mark.parametrize(
    "scenario",
    [
        "killed_before_the_domain_is_made",
        "killed_after_the_domain_is_made",
        "killed_while_a_guest_runs",
        "killed_with_its_guest",
    ],
)
def test_libvirt_is(scenario: str) -> None:
    ran = subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private"),
            *(sys.executable, "-m", "tests.contract.libvirt_loss", scenario),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
