"""Slicing by action never changes an answer. The oracle is Cedar with all policies and no engine of ours."""

import cedarpy
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.bundle import SCHEMA_FILE, PolicyBundle, shipped
from policies.engine import PolicyEngine
from policies.inputs import entity_uid, inputs_document
from policies.vocabulary import Action, Entity, EntityRef, EntityType, Request, Role, Value, Verdict
from tests.unit.policies.small_bundles import SCHEMA

#: Policies that hit every action, or one by a condition: a site's own, beside the shipped ones.
AWKWARD = """
@id("t.any-action") @control("PCI 7.2.2")
permit (principal in Role::"approver", action, resource) when { context.channel == "web" };
@id("t.in-condition") @control("PCI 7.2.2")
forbid (principal, action, resource) when { action == Action::"guest.stop" && context.approvals > 3 };
@id("t.overflows") @control("PCI 7.2.2")
forbid (principal, action == Action::"image.verify", resource)
when { context.approvals * 9223372036854775807 > 2 };
"""
BUNDLE = PolicyBundle({**shipped().files, "site.cedar": AWKWARD.encode()})
ENGINE = PolicyEngine(BUNDLE)
ALL_POLICIES = cedarpy.PolicySet.from_str(
    "\n".join(content.decode() for name, content in BUNDLE.files.items() if name != SCHEMA_FILE)
)
ALL_SCHEMA = cedarpy.Schema.from_str(SCHEMA.decode())

#: What the actions of each subject are done to where that is not the site; None for any of the drawn ids.
RESOURCES: dict[str, tuple[EntityType, str | None]] = {
    "account": (EntityType.ACCOUNT, None),
    "token": (EntityType.ACCOUNT, None),
    "session": (EntityType.SESSION, None),
    "guest": (EntityType.GUEST, None),
    "image": (EntityType.IMAGE, None),
    "key": (EntityType.KEY, None),
    "report": (EntityType.REPORT, None),
    "keystore": (EntityType.KEY_STORE, "keystore"),
    "log": (EntityType.LOG, "log"),
    "host": (EntityType.HOST, "host"),
}
IDS = st.sampled_from(["a", "b", "daemon", "recovery"])


@st.composite
def accounts(draw: st.DrawFn, name: str) -> Entity:
    roles = draw(st.sets(st.sampled_from(sorted(Role)), max_size=3))
    parents = tuple(EntityRef(EntityType.ROLE, role) for role in sorted(roles))
    return Entity(EntityRef(EntityType.ACCOUNT, name), {"active": draw(st.booleans())}, parents)


@st.composite
def requests(draw: st.DrawFn) -> list[Request]:
    """One principal, in one situation, asks for every action on everything: sense and nonsense."""
    labels = draw(st.lists(st.sampled_from(["ephi", "chd", "test"]), max_size=3))
    entities = (
        draw(accounts("a")),
        draw(accounts("b")),
        Entity(EntityRef(EntityType.GUEST, "a"), {"labels": labels, "owner": "a"}),
        Entity(EntityRef(EntityType.SESSION, "a"), {}, (EntityRef(EntityType.ACCOUNT, "a"),)),
    )
    kept = draw(st.sets(st.sampled_from(range(4)), min_size=2))
    principal_type = draw(st.sampled_from([EntityType.ACCOUNT, EntityType.OPERATING_SYSTEM]))
    principal = EntityRef(principal_type, draw(IDS))
    context: dict[str, Value] = {
        "channel": draw(st.sampled_from(["cli", "web", "local"])),
        "approvals": draw(st.integers(0, 5)),
        "reason_given": draw(st.booleans()),
        "second_factor": draw(st.booleans()),
    }
    subject_id = draw(IDS)
    site = EntityRef(EntityType.SITE, "site")
    odd = EntityRef(draw(st.sampled_from(list(EntityType))), draw(IDS))

    def subject(action: Action) -> EntityRef:
        entity_type, fixed_id = RESOURCES.get(action.split(".")[0], (EntityType.SITE, "site"))
        return EntityRef(entity_type, fixed_id or subject_id)

    given_entities = tuple(entities[place] for place in sorted(kept))
    return [
        Request(principal, action, resource, context, given_entities)
        for action in Action
        for resource in (subject(action), site, odd)
    ]


@given(requests())
@settings(max_examples=60, deadline=None)
def test_a_slice_decides_as_the_full_set_does(asked: list[Request]) -> None:
    # 60 situations of some 140 requests each.
    for request in asked:
        assert_same(request)


def assert_same(request: Request) -> None:
    document = inputs_document(request)
    entities = document["entities"]
    assert isinstance(entities, list)
    full = cedarpy.is_authorized(
        {
            "principal": entity_uid(request.principal),
            "action": {"type": "Action", "id": request.action.value},
            "resource": entity_uid(request.resource),
            "context": document["context"],
        },
        ALL_POLICIES,
        entities,
        ALL_SCHEMA,
    )
    decision = ENGINE.decide(request)
    failed = bool(full.diagnostics.errors)
    assert decision.evaluation_failed is failed
    assert (decision.verdict is Verdict.ALLOW) is (full.allowed and not failed)
    if not failed:
        assert set(decision.policies) == set(full.diagnostics.id_annotations_by_reason.values())


def test_a_group_of_actions_is_in_the_slice_of_each_of_its_members() -> None:
    schema = b"""
        entity Account;
        entity Guest;
        action "reads";
        action "guest.show" in ["reads"] appliesTo { principal: [Account], resource: [Guest] };
        action "guest.stop" in ["guest.show"] appliesTo { principal: [Account], resource: [Guest] };
        action "guest.start" appliesTo { principal: [Account], resource: [Guest] };
    """
    text = b'@id("t.reads") @control("PCI 7.2.2") permit (principal, action in Action::"reads", resource);'
    engine = PolicyEngine(PolicyBundle({SCHEMA_FILE: schema, "site.cedar": text}, foreign_schema=True))

    def verdict(action: Action) -> Verdict:
        account, guest = EntityRef(EntityType.ACCOUNT, "a"), EntityRef(EntityType.GUEST, "g")
        return engine.decide(Request(account, action, guest, {}, ())).verdict

    assert verdict(Action.GUEST_SHOW) is Verdict.ALLOW
    assert verdict(Action.GUEST_STOP) is Verdict.ALLOW
    assert verdict(Action.GUEST_START) is Verdict.DENY
