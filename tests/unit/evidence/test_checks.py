"""Every check, over a snapshot it passes, one it fails, and one with nothing to test."""

import pytest

from audit.evidence.check import Check, CheckResult, run_checks
from audit.evidence.checks.registry import ALL_CHECKS, checks_for
from audit.evidence.document import to_bytes
from audit.evidence.framework import Framework
from audit.evidence.verdict import Verdict
from tests.unit.evidence.cases import CASES, Make
from tests.unit.evidence.examples import check_named, run


def _cases(part: str) -> list[tuple[str, Make]]:
    return [(name, make) for name, case in CASES.items() if (make := getattr(case, part)) is not None]


def test_every_check_has_its_cases() -> None:
    assert {check.id for check in ALL_CHECKS} == set(CASES)


def test_a_check_without_a_failing_or_empty_case_says_why() -> None:
    silent = [name for name, case in CASES.items() if None in (case.failing, case.empty) and not case.never]
    assert silent == []


def test_check_ids_are_unique() -> None:
    ids = [check.id for check in ALL_CHECKS]
    assert len(ids) == len(set(ids))


def test_a_check_rests_on_facts_or_reads_the_log_and_not_both() -> None:
    assert [check.id for check in ALL_CHECKS if (check.evaluate is None) == (check.read is None)] == []


@pytest.mark.parametrize("framework", list(Framework))
def test_every_supported_control_is_in_the_catalogue(framework: Framework) -> None:
    known = {control.id for control in framework.catalogue.controls}
    cited = {support.control for check in checks_for(framework) for support in check.supports[framework]}
    assert cited - known == set()


def test_at_least_twenty_hipaa_and_thirty_pci_controls_can_be_found_to_hold_and_not_to_hold() -> None:
    # Only controls count of which some check passes one snapshot and fails another; both are run below.
    counted = {
        framework: len(
            {
                support.control
                for check in checks_for(framework)
                if CASES[check.id].failing is not None
                for support in check.supports[framework]
            }
        )
        for framework in Framework
    }
    assert counted[Framework.HIPAA] >= 20
    assert counted[Framework.PCI] >= 30


@pytest.mark.parametrize(("name", "make"), _cases("passing"))
def test_what_holds_passes(name: str, make: Make) -> None:
    result = run(name, make())
    assert result.verdict is CASES[name].passes_as, result.reason
    assert result.population > 0
    assert result.sample.size == result.population
    assert result.violations == 0


@pytest.mark.parametrize(("name", "make"), _cases("failing"))
def test_what_does_not_hold_fails_and_is_counted(name: str, make: Make) -> None:
    result = run(name, make())
    assert result.verdict is Verdict.NOT_SATISFIED, result.reason
    assert result.violations > 0


@pytest.mark.parametrize(("name", "make"), _cases("empty"))
def test_nothing_to_test_is_never_a_pass(name: str, make: Make) -> None:
    result = run(name, make())
    assert result.verdict is CASES[name].empty_as, result.reason
    assert result.verdict is not Verdict.SATISFIED


@pytest.mark.parametrize("part", ["passing", "failing", "empty"])
def test_every_result_gives_a_reason_and_a_query(part: str) -> None:
    for name, make in _cases(part):
        result = run(name, make())
        assert result.reason.endswith("."), (name, result.reason)
        assert result.query, name


@pytest.mark.parametrize(("name", "make"), _cases("passing"))
def test_the_same_snapshot_gives_the_same_bytes(name: str, make: Make) -> None:
    assert to_bytes(run(name, make())) == to_bytes(run(name, make()))


def test_rows_fit_their_columns() -> None:
    for part in ("passing", "failing", "empty"):
        for name, make in _cases(part):
            table = run(name, make()).table
            assert all(len(row) == len(table.columns) for row in table.rows), name
            assert len(table.rows) <= table.total, name


def test_over_a_log_that_does_not_verify_nothing_that_reads_it_is_evaluated() -> None:
    failing = CASES["log.verifies"].failing
    assert failing is not None
    over = failing()
    results = dict(zip((c.id for c in ALL_CHECKS), run_checks(ALL_CHECKS, over), strict=True))
    readers = [check.id for check in ALL_CHECKS if check.read is not None]
    assert {results[name].verdict for name in readers} == {Verdict.NOT_EVALUATED}
    assert results["log.verifies"].verdict is Verdict.NOT_SATISFIED


def test_one_pass_for_all_checks_gives_what_each_gives_alone() -> None:
    over = CASES["access.one_decision"].passing()
    together = run_checks(ALL_CHECKS, over)
    alone: list[CheckResult] = [run_checks([check], over)[0] for check in ALL_CHECKS]
    assert together == alone


def test_no_reason_claims_compliance() -> None:
    words = [
        run(name, make()).reason for part in ("passing", "failing", "empty") for name, make in _cases(part)
    ]
    assert [each for each in words if "complian" in each.lower()] == []


def test_a_check_is_found_by_its_id() -> None:
    found: Check = check_named("log.verifies")
    assert found.version >= 1
