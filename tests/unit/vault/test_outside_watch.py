"""Nobody hides what they do outside the gate: not behind a refused access, an odd path, or a failing log."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from audit.errors import LogUnavailable
from audit.log.record import Draft, Kind
from policies.vocabulary import Verdict
from tests.unit.vault.gate_bench import START, Bench
from vault.config import Settings
from vault.database import Database
from vault.errors import PolicyDenied
from vault.findings import Findings
from vault.gate import Gate
from vault.guests.ports import DomainEvent, EventKind
from vault.model import Guest
from vault.operations.outside import OutsideWatch
from vault.site import Site

#: Of the bench's resource.
GUEST = "77aa"


@dataclass
class PartOfSite:
    """What the watch uses of a site."""

    settings: Settings
    gate: Gate
    database: Database
    findings: Findings


@dataclass
class Watched:
    bench: Bench
    disks: Path
    site: PartOfSite
    watch: OutsideWatch

    def found(self) -> list[tuple[str, str]]:
        return sorted((finding.code, finding.resource) for finding in self.site.findings.all_open())


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    bench = Bench(tmp_path)
    database = Database(tmp_path / "state.db", create=True)
    settings = Settings(data_dir=tmp_path / "main")
    (settings.data_dir / "disks" / GUEST).mkdir(parents=True)
    with database.session() as session:
        session.add(
            Guest(
                id=GUEST,
                name="clinic-db",
                owner="o",
                image_id="i",
                vcpus=1,
                memory_bytes=1,
                uid=1_000_000,
                mac="52:54:00:00:00:01",
            )
        )
    part = PartOfSite(settings, bench.gate, database, Findings(database))
    yield Watched(bench, settings.data_dir / "disks", part, OutsideWatch(cast("Site", part)))
    database.close()


DESTROYED = DomainEvent("clinic-db", GUEST, EventKind.STOPPED, "destroyed")


def test_what_an_allowed_access_does_is_its_own(watched: Watched) -> None:
    watched.bench.gate.run(START, lambda _permit: watched.watch.handle(DESTROYED))
    watched.watch.handle(DESTROYED)  # libvirt tells a little late
    assert watched.found() == []


def test_a_refused_access_covers_up_nothing(watched: Watched) -> None:
    watched.bench.engine.verdict = Verdict.DENY
    with pytest.raises(PolicyDenied):
        watched.bench.gate.run(START, lambda _permit: None)
    with watched.bench.gate.locks.hold(str(START.resource)):
        watched.watch.handle(DESTROYED)
    assert watched.found() == [("outside.stopped", f"guest:{GUEST}")]
    assert watched.bench.log.kinds() == [Kind.DENIED, Kind.EXTERNAL]


def test_a_finding_is_opened_also_while_the_log_is_away(watched: Watched) -> None:
    watched.bench.log.fail_on = lambda _draft: True
    watched.watch.handle(DESTROYED)
    assert watched.found() == [("outside.stopped", f"guest:{GUEST}")]
    (finding,) = watched.site.findings.all_open()
    assert finding.record is None


def test_an_end_that_the_guest_chose_is_a_record_and_no_finding(watched: Watched) -> None:
    watched.watch.handle(DomainEvent("clinic-db", GUEST, EventKind.STOPPED, "shutdown"))
    assert watched.found() == []
    assert watched.bench.log.kinds() == [Kind.EXTERNAL]

    def fails(_draft: Draft) -> bool:
        return True

    watched.bench.log.fail_on = fails
    with pytest.raises(LogUnavailable):
        watched.watch.handle(DomainEvent("clinic-db", GUEST, EventKind.STOPPED, "shutdown"))


def test_a_qemu_that_died_unasked_is_a_finding_that_says_so(watched: Watched) -> None:
    watched.watch.handle(DomainEvent("clinic-db", GUEST, EventKind.STOPPED, "failed"))
    assert watched.found() == [("outside.stopped", f"guest:{GUEST}")]
    (finding,) = watched.site.findings.all_open()
    assert "QEMU process ended unasked" in finding.sentence
    assert finding.record is not None


@pytest.mark.parametrize("way", ["plain", "slashes", "dots", "link"])
def test_a_foreign_domain_on_a_guests_disk_is_found_however_it_writes_the_path(
    watched: Watched, tmp_path: Path, way: str
) -> None:
    link = tmp_path / "innocent"
    link.symlink_to(watched.disks)
    path = {
        "plain": f"{watched.disks}/{GUEST}/root.qcow2",
        "slashes": f"{watched.disks.parent}//disks///{GUEST}/root.qcow2",
        "dots": f"{watched.disks.parent}/x/../disks/{GUEST}/root.qcow2",
        "link": f"{link}/{GUEST}/root.qcow2",
    }[way]
    watched.watch.handle(DomainEvent("evil", None, EventKind.STARTED, "", (path,)))
    assert watched.found() == [("outside.started", f"guest:{GUEST}")]


def test_paths_that_are_no_guests_disk_are_passed_over(watched: Watched) -> None:
    paths = (f"{watched.disks}/", f"{watched.disks}/a sentence/x", "/etc/passwd", str(watched.disks.parent))
    watched.watch.handle(DomainEvent("other", None, EventKind.STARTED, "", paths))
    assert watched.found() == []
    assert watched.bench.log.records == []
