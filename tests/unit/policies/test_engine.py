"""The engine: whatever goes wrong, the answer is no."""

from dataclasses import replace

import cedarpy
import pytest

from policies.bundle import PolicyBundle, empty, shipped
from policies.engine import NO_PERMIT_MATCHED, PolicyEngine
from policies.inputs import inputs_document
from policies.vocabulary import Action, Entity, EntityRef, EntityType, Value, Verdict
from tests.unit.policies.small_bundles import (
    ACCOUNT,
    GUEST,
    SCHEMA,
    account,
    bundle_of,
    engine_of,
    guest,
    start_request,
)

OPERATORS_START = """
@id("t.operators-start") @control("PCI 7.2.2")
permit (principal in Role::"operator", action == Action::"guest.start", resource);
"""
NEVER_EPHI = """
@id("t.never-ephi") @control("HIPAA 164.312(a)(1)")
forbid (principal, action == Action::"guest.start", resource)
when { resource.labels.contains("ephi") };
"""
DUAL_CONTROL = """
@id("t.two-people") @control("PCI 3.7.6") @obligation("dual_control")
forbid (principal, action == Action::"guest.start", resource) unless { context.approvals >= 2 };
"""
REASON = """
@id("t.reason") @control("HIPAA 164.312(a)(2)(ii)") @obligation("reason")
forbid (principal, action == Action::"guest.start", resource) unless { context.reason_given };
"""
#: Valid in Cedar's strict mode, and fails when the number of approvals is large.
OVERFLOWS = """
@id("t.overflows") @control("PCI 7.2.2")
forbid (principal, action == Action::"guest.start", resource)
when { context.approvals * 9223372036854775807 > 2 };
"""


def test_nothing_is_allowed_by_an_empty_policy_set() -> None:
    engine = PolicyEngine(empty())
    for role in ("administrator", "operator"):
        decision = engine.decide(start_request(role))
        assert (decision.verdict, decision.policies) == (Verdict.DENY, ())
        assert decision.reason == NO_PERMIT_MATCHED
        assert not decision.evaluation_failed


def test_an_allow_names_its_permits_and_the_bundle() -> None:
    engine = engine_of(OPERATORS_START)
    decision = engine.decide(start_request("operator"))
    assert decision.verdict is Verdict.ALLOW
    assert decision.policies == ("t.operators-start",)
    assert decision.reason == "permitted by t.operators-start"
    assert decision.bundle == bundle_of(OPERATORS_START).digest == engine.bundle_digest


def test_a_forbid_wins_over_a_permit_and_is_named() -> None:
    engine = engine_of(OPERATORS_START + NEVER_EPHI)
    request = start_request("operator")
    decision = engine.decide(replace(request, entities=(account("operator"), guest("ephi"))))
    assert (decision.verdict, decision.policies) == (Verdict.DENY, ("t.never-ephi",))
    assert decision.reason == "forbidden by t.never-ephi"


def test_a_forbid_that_cedar_skips_because_its_evaluation_fails_denies() -> None:
    # The attack of FACTS.md: make the forbid fail, and Cedar answers allow.
    text = OPERATORS_START + OVERFLOWS
    request = start_request("operator", context={"approvals": 2})
    document = inputs_document(request)
    entities = document["entities"]
    assert isinstance(entities, list)
    skipped = cedarpy.is_authorized(
        {
            "principal": {"type": "Account", "id": ACCOUNT.id},
            "action": {"type": "Action", "id": "guest.start"},
            "resource": {"type": "Guest", "id": GUEST.id},
            "context": document["context"],
        },
        text,
        entities,
        SCHEMA.decode(),
    )
    assert skipped.allowed

    decision = engine_of(text).decide(request)
    assert (decision.verdict, decision.policies) == (Verdict.DENY, ())
    assert decision.evaluation_failed
    assert decision.reason == "denied because t.overflows could not be evaluated"


def test_an_account_missing_from_the_entities_is_not_taken_for_an_active_one() -> None:
    request = start_request("operator")
    decision = PolicyEngine(shipped()).decide(replace(request, entities=(guest(),)))
    assert (decision.verdict, decision.evaluation_failed) == (Verdict.DENY, True)
    assert decision.reason == "denied because base.deny-inactive could not be evaluated"


def test_a_guest_missing_from_the_entities_is_not_taken_for_an_unlabelled_one() -> None:
    request = replace(start_request("operator"), action=Action.GUEST_EXEC, entities=(account("operator"),))
    decision = PolicyEngine(shipped()).decide(request)
    assert (decision.verdict, decision.policies) == (Verdict.DENY, ())
    assert decision.evaluation_failed


@pytest.mark.parametrize(
    "context",
    [
        {"approvals": "2"},
        {"approvals": 2**63},
        {"second_factor": 1},
        {"extra": "more"},
    ],
)
def test_a_context_that_does_not_fit_the_schema_denies(context: dict[str, Value]) -> None:
    decision = engine_of(OPERATORS_START).decide(start_request("operator", context=context))
    assert (decision.verdict, decision.policies) == (Verdict.DENY, ())
    assert decision.evaluation_failed
    assert decision.reason == "denied because the request does not fit the policy schema"


def test_a_context_without_one_of_its_values_denies() -> None:
    request = start_request("operator")
    context = {name: value for name, value in request.context.items() if name != "approvals"}
    decision = engine_of(OPERATORS_START).decide(replace(request, context=context))
    assert (decision.verdict, decision.evaluation_failed) == (Verdict.DENY, True)


@pytest.mark.parametrize(
    "entities",
    [
        (Entity(ACCOUNT, {}), guest()),
        (Entity(ACCOUNT, {"active": "yes"}), guest()),
        (Entity(ACCOUNT, {"active": True, "root": True}), guest()),
        (account("operator"), account("administrator"), guest()),
        (Entity(ACCOUNT, {"active": True}, (GUEST,)), guest()),
        (Entity(ACCOUNT, {"active": True}, (EntityRef(EntityType.ROLE, "superuser"),)), guest()),
        (account("operator"), Entity(GUEST, {"labels": "ephi", "owner": ACCOUNT.id})),
        (account("operator"), Entity(GUEST, {"labels": ["\ud800"], "owner": ACCOUNT.id})),
        (account("operator"), Entity(GUEST, {"labels": [b"raw"], "owner": ACCOUNT.id})),  # type: ignore[list-item]  # a caller's defect, on purpose
    ],
    ids=[
        "attribute missing",
        "attribute of another type",
        "unknown attribute",
        "one account twice with other roles",
        "a parent of another type",
        "a role that does not exist",
        "a word where a set belongs",
        "half a character",
        "bytes",
    ],
)
def test_entities_that_do_not_fit_the_schema_deny(entities: tuple[Entity, ...]) -> None:
    request = replace(start_request("operator"), entities=entities)
    decision = engine_of(OPERATORS_START).decide(request)
    assert (decision.verdict, decision.policies) == (Verdict.DENY, ())
    assert decision.evaluation_failed


@pytest.mark.parametrize(
    "resource",
    [EntityRef(EntityType.SITE, "site"), EntityRef(EntityType.ROLE, "operator")],
)
def test_an_action_on_a_resource_of_the_wrong_type_denies(resource: EntityRef) -> None:
    decision = engine_of(OPERATORS_START).decide(replace(start_request("operator"), resource=resource))
    assert (decision.verdict, decision.evaluation_failed) == (Verdict.DENY, True)


def test_an_id_that_looks_like_cedar_is_only_an_id() -> None:
    hostile = EntityRef(EntityType.ACCOUNT, 'x", "roles": ["administrator"]}]\n" in Role::"operator')
    request = replace(
        start_request(), principal=hostile, entities=(Entity(hostile, {"active": True}), guest())
    )
    decision = PolicyEngine(shipped()).decide(request)
    assert (decision.verdict, decision.reason) == (Verdict.DENY, NO_PERMIT_MATCHED)


def test_a_failing_request_cannot_write_into_the_reason() -> None:
    hostile = EntityRef(EntityType.ACCOUNT, "error while evaluating policy `t.fake`: `t.operators-start`")
    request = replace(start_request(), principal=hostile, entities=(guest(),))
    decision = PolicyEngine(shipped()).decide(request)
    assert decision.reason == "denied because base.deny-inactive could not be evaluated"


def test_a_missing_approval_is_unmet_and_says_what_is_demanded() -> None:
    engine = engine_of(OPERATORS_START + DUAL_CONTROL)
    decision = engine.decide(start_request("operator", context={"approvals": 1}))
    assert decision.verdict is Verdict.UNMET
    assert decision.policies == ("t.two-people",)
    assert decision.obligations == ("dual_control",)
    assert decision.reason == "waits for dual_control, demanded by t.two-people"
    met = engine.decide(start_request("operator", context={"approvals": 2}))
    assert (met.verdict, met.policies, met.obligations) == (Verdict.ALLOW, ("t.operators-start",), ())


def test_all_unmet_obligations_are_named() -> None:
    decision = engine_of(OPERATORS_START + DUAL_CONTROL + REASON).decide(start_request("operator"))
    assert decision.verdict is Verdict.UNMET
    assert decision.policies == ("t.reason", "t.two-people")
    assert decision.obligations == ("dual_control", "reason")


def test_nobody_is_told_to_wait_for_approval_of_what_no_permit_allows() -> None:
    decision = engine_of(OPERATORS_START + DUAL_CONTROL).decide(start_request("auditor"))
    assert (decision.verdict, decision.policies) == (Verdict.DENY, ("t.two-people",))
    assert decision.obligations == ()


def test_a_final_forbid_beside_an_obligation_denies() -> None:
    request = replace(start_request("operator"), entities=(account("operator"), guest("ephi")))
    decision = engine_of(OPERATORS_START + DUAL_CONTROL + NEVER_EPHI).decide(request)
    assert (decision.verdict, decision.policies) == (Verdict.DENY, ("t.never-ephi", "t.two-people"))
    assert decision.obligations == ()


def test_an_obligation_whose_evaluation_fails_denies() -> None:
    text = OPERATORS_START + OVERFLOWS.replace(
        '@control("PCI 7.2.2")', '@control("PCI 7.2.2") @obligation("dual_control")'
    )
    decision = engine_of(text).decide(start_request("operator", context={"approvals": 2}))
    assert (decision.verdict, decision.obligations) == (Verdict.DENY, ())
    assert decision.evaluation_failed


def test_a_replay_of_the_stored_document_decides_the_same() -> None:
    engine = PolicyEngine(shipped())
    for roles in (("operator",), ("auditor",), ()):
        request = start_request(*roles)
        document = inputs_document(request)
        replayed = engine.decide_document(request.principal, request.action, request.resource, document)
        assert replayed == engine.decide(request)


@pytest.mark.parametrize("document", [{}, {"context": {}}, {"context": {}, "entities": "none"}])
def test_a_replay_of_a_damaged_document_denies(document: dict[str, object]) -> None:
    request = start_request("operator")
    decision = engine_of(OPERATORS_START).decide_document(
        request.principal, request.action, request.resource, document
    )
    assert (decision.verdict, decision.evaluation_failed) == (Verdict.DENY, True)


def test_an_action_that_an_older_schema_lacks_denies() -> None:
    schema = b"""
        entity Account { active: Bool };
        entity Guest;
        action "guest.stop" appliesTo { principal: [Account], resource: [Guest] };
    """
    text = b'@id("t.all") @control("PCI 7.2.2") permit (principal, action, resource);'
    bundle = PolicyBundle({"schema.cedarschema": schema, "site.cedar": text}, foreign_schema=True)
    decision = PolicyEngine(bundle).decide(start_request("operator"))
    assert (decision.verdict, decision.evaluation_failed) == (Verdict.DENY, True)
