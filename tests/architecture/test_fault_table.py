"""The fault table in docs/faults.md names tests that exist, and has a row for every fault that is promised."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "faults.md"
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
#: What must have a row, by words of its first cell.
PROMISED = (
    "removed", "replaced", "older copy", "`-wal`", "`-shm`", "read-only", "full", "I/O error", "hangs", "clock",
    "libvirtd", "QEMU", "per-domain folder", "data folder", "killed at every step", "swapped", "corrupted",
    "Two faults",
)  # fmt: skip


def rows() -> list[list[str]]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if not set(row[0]) <= {"-", " ", ":"} and row[0] != "fault"]


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_each_fault_names_tests_that_exist(row: list[str]) -> None:
    assert len(row) == 5, "fault, where it is injected, what a person sees, what is guaranteed, tests"
    assert all(row)
    named = _NAMED.findall(row[4])
    assert named, f"no test is named for: {row[0]}"
    for path, name in named:
        assert name in functions_of(ROOT / path), f"{path} has no {name}"


@pytest.mark.parametrize("fault", PROMISED)
def test_every_promised_fault_has_a_row(fault: str) -> None:
    assert [row for row in rows() if fault.lower() in row[0].lower()]
