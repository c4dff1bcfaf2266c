"""From results to verdicts: the worst wins, gaps make partial, what nobody looked at is no pass."""

import json

import pytest

from audit.evidence.evaluate import ControlEvaluation, Evaluation, evaluate
from audit.evidence.framework import Framework
from audit.evidence.log_range import LogProof
from audit.evidence.verdict import VERDICT_ORDER, Verdict, status_in_framework, worst
from tests.unit.evidence.examples import changed, healthy_facts, passphrase_seal, snapshot


def _evaluated(framework: Framework = Framework.PCI, **settings: object) -> Evaluation:
    facts = changed(healthy_facts(), "settings", **settings) if settings else healthy_facts()
    return evaluate(snapshot(framework, facts), framework.catalogue)


def _control(evaluation: Evaluation, control_id: str) -> ControlEvaluation:
    return next(each for each in evaluation.controls if each.control.id == control_id)


@pytest.mark.parametrize(
    ("verdicts", "joined"),
    [
        ([], Verdict.NOT_EVALUATED),
        ([Verdict.SATISFIED], Verdict.SATISFIED),
        ([Verdict.SATISFIED, Verdict.NO_POPULATION], Verdict.NO_POPULATION),
        ([Verdict.SATISFIED, Verdict.NOT_EVALUATED], Verdict.NOT_EVALUATED),
        ([Verdict.NOT_EVALUATED, Verdict.PARTIAL], Verdict.PARTIAL),
        ([Verdict.PARTIAL, Verdict.NOT_SATISFIED, Verdict.SATISFIED], Verdict.NOT_SATISFIED),
    ],
)
def test_the_worst_verdict_wins_and_none_is_not_evaluated(verdicts: list[Verdict], joined: Verdict) -> None:
    assert worst(verdicts) is joined


def test_every_verdict_has_its_place_in_the_order_reports_use() -> None:
    assert set(VERDICT_ORDER) == set(Verdict)


@pytest.mark.parametrize("framework", list(Framework))
def test_every_control_of_the_catalogue_has_one_verdict_and_a_reason(framework: Framework) -> None:
    evaluation = _evaluated(framework)
    assert [each.control for each in evaluation.controls] == list(framework.catalogue.controls)
    assert all(each.reason.endswith(".") for each in evaluation.controls)
    assert sum(evaluation.counts().values()) == len(evaluation.controls)


def test_a_control_no_check_serves_is_not_evaluated_with_the_reason() -> None:
    control = _control(_evaluated(Framework.HIPAA), "164.308(a)(2)")
    assert control.verdict is Verdict.NOT_EVALUATED
    assert "signed act" in control.reason
    assert control.grounds == ()


def test_a_check_that_passes_without_seeing_all_of_a_control_makes_it_partial_and_names_the_gap() -> None:
    control = _control(_evaluated(), "7.2.6")
    assert control.verdict is Verdict.PARTIAL
    assert "Not tested: queries that people run inside a guest" in control.reason


def test_one_failing_check_of_several_decides() -> None:
    facts = changed(healthy_facts(), "memory", libvirt_filesystem="ext4")
    over = snapshot(Framework.HIPAA, facts)
    control = _control(evaluate(over, Framework.HIPAA.catalogue), "164.312(a)(2)(iv)")
    assert control.verdict is Verdict.NOT_SATISFIED
    assert {grounds.verdict for grounds in control.grounds} == {Verdict.SATISFIED, Verdict.NOT_SATISFIED}


def test_a_superseded_control_is_not_applicable_by_the_frameworks_own_text() -> None:
    control = _control(_evaluated(), "10.7.1")
    assert control.verdict is Verdict.NOT_APPLICABLE
    assert "Decided by the framework's own text" in control.reason


def test_pci_words_stand_beside_our_verdicts_and_hipaa_has_none() -> None:
    statuses = {verdict: status_in_framework(Framework.PCI, verdict) for verdict in Verdict}
    assert statuses[Verdict.SATISFIED] == "In Place"
    assert statuses[Verdict.NOT_SATISFIED] == statuses[Verdict.WAIVED] == "Not in Place"
    assert statuses[Verdict.NO_POPULATION] == statuses[Verdict.NOT_EVALUATED] == "Not Tested"
    assert status_in_framework(Framework.HIPAA, Verdict.SATISFIED) == ""


def test_evidence_is_numbered_without_gaps_and_found_by_number() -> None:
    evaluation = _evaluated()
    numbers = [item.number for item in evaluation.items]
    assert numbers == [f"EV-{n:04d}" for n in range(1, len(numbers) + 1)]
    assert evaluation.item("EV-0003").number == "EV-0003"


def test_the_same_snapshot_gives_the_same_document_and_another_does_not() -> None:
    assert _evaluated().to_bytes() == _evaluated().to_bytes()
    assert _evaluated().to_bytes() != _evaluated(idle_timeout_s=60).to_bytes()


def test_the_document_holds_what_a_reader_must_have() -> None:
    document = json.loads(_evaluated().to_bytes())
    assert document["records"] == {"covered": 36, "in_period": 36}
    assert document["catalogue"]["id"] == "pci-dss-4.0.1"
    assert len(document["evidence"][0]["sha256"]) == 64
    assert {"id", "verdict", "status", "reason", "evidence"} == set(document["controls"][0])


def test_a_log_that_does_not_verify_leaves_no_pass_that_rests_on_it() -> None:
    broken = LogProof(holds=False, checked=3, detail="Record 3 was changed.", first_bad=3)
    evaluation = evaluate(snapshot(Framework.PCI, proof=broken), Framework.PCI.catalogue)
    assert _control(evaluation, "10.3.4").verdict is Verdict.NOT_SATISFIED
    assert _control(evaluation, "10.2.2").verdict is Verdict.NOT_EVALUATED
    assert _control(evaluation, "7.2.6").verdict is Verdict.NOT_EVALUATED


def test_progress_runs_from_nought_to_one() -> None:
    told: list[float] = []
    evaluate(snapshot(), Framework.HIPAA.catalogue, lambda fraction, _sentence: told.append(fraction))
    assert (told[0], told[-1]) == (0.0, 1.0)


def test_the_site_of_the_demo_is_told_where_it_falls_short() -> None:
    facts = changed(passphrase_seal(healthy_facts()), "key_store", same_device_as_disks=True)
    evaluation = evaluate(snapshot(Framework.PCI, facts), Framework.PCI.catalogue)
    short = {each.control.id for each in evaluation.controls if each.verdict is Verdict.NOT_SATISFIED}
    assert {"3.5.1.2", "3.6.1", "3.6.1.4", "3.7.6"} <= short
