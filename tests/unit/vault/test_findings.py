import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vault.database import Database
from vault.findings import Findings


@pytest.fixture
def findings(tmp_path: Path) -> Iterator[Findings]:
    database = Database(tmp_path / "state.db", create=True)
    yield Findings(database)
    database.close()


def find(findings: Findings, code: str = "disk.keyslot_unknown", resource: str = "guest:1/root") -> str:
    return findings.open(code, severity="critical", resource=resource, sentence="A slot.", remedy="Look.").id


def test_the_same_open_finding_is_not_opened_twice(findings: Findings) -> None:
    assert find(findings) == find(findings)
    assert find(findings, resource="guest:2/root") != find(findings, code="disk.header_changed")
    assert len(findings.all_open()) == 3


def test_many_threads_that_see_the_same_open_one_finding(findings: Findings) -> None:
    together = threading.Barrier(8)

    def work() -> None:
        together.wait(10)
        find(findings)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(findings.all_open()) == 1


def test_a_closed_finding_opens_again_as_a_new_one(findings: Findings) -> None:
    first = find(findings)
    other = find(findings, resource="guest:2/root")
    findings.close("disk.keyslot_unknown", "guest:1/root")
    findings.close("disk.keyslot_unknown", "guest:9/root")
    assert [finding.id for finding in findings.all_open()] == [other]
    assert find(findings) != first


def test_the_newest_finding_comes_first(findings: Findings) -> None:
    ids = [find(findings, resource=f"guest:{number}/root") for number in range(3)]
    assert [finding.id for finding in findings.all_open()] == ids[::-1]
