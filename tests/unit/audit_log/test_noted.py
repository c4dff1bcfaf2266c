"""An auditor who kept a checkpoint finds out that the log was cut or rewritten, whoever holds the log's key."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from audit.errors import VerificationFailed
from audit.log.checkpoint import Checkpoint
from audit.log.export import export_log
from audit.log.merkle import TreeHead
from audit.log.tiles import export_tiles
from audit.verify import Trust, verify_any
from tests.unit.audit_log.parts import LogHome, ordinary_history, write

EXPORTS: list[Callable[[Path, Path], object]] = [export_log, export_tiles]


@dataclass
class Kept:
    """A log of which somebody kept an early checkpoint."""

    home: LogHome
    note: Path
    trust: Trust


@pytest.fixture(params=[False, True], ids=["one key", "keys that evolve"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    home = LogHome.create(tmp_path / "log")
    note = tmp_path / "kept"
    for run in range(2):
        writer = home.open(epochs=request.param, checkpoint_after_s=3600)
        write(writer, ordinary_history(20 if run == 0 else 0))
        if run == 0:
            note.write_bytes(writer.checkpoint())
        writer.close()
    return Kept(home, note, Trust.parse({"origin": home.origin, "log_vkey": home.key.vkey}))


def forge(kept: Kept, size: int, root: bytes) -> None:
    """What was signed then was something else: as if the log had been rewritten since."""
    kept.note.write_bytes(Checkpoint(kept.home.origin, TreeHead(size, root)).sign([kept.home.key]))


@pytest.mark.parametrize("export", EXPORTS)
def test_a_log_that_only_grew_since_holds(
    kept: Kept, tmp_path: Path, export: Callable[[Path, Path], object]
) -> None:
    export(kept.home.path, tmp_path / "out")
    report = verify_any(tmp_path / "out", kept.trust, noted=kept.note)
    assert "stand unchanged" in next(check.detail for check in report.checks if check.name == "noted")


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("what", ["other root", "more records", "no note", "other key"])
def test_a_log_that_does_not_extend_it_is_refused(
    kept: Kept, tmp_path: Path, export: Callable[[Path, Path], object], what: str
) -> None:
    export(kept.home.path, tmp_path / "out")
    if what == "other root":
        forge(kept, 5, bytes(32))
    elif what == "more records":
        forge(kept, 1000, bytes(32))
    elif what == "no note":
        kept.note.write_bytes(b"")
    else:
        kept.note.write_bytes(kept.note.read_bytes().replace(b"\xe2\x80\x94 strong", b"\xe2\x80\x94 weak"))
    with pytest.raises(VerificationFailed) as caught:
        verify_any(tmp_path / "out", kept.trust, noted=kept.note)
    assert caught.value.finding.startswith("noted.")
