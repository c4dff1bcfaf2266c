"""The shipped policies against their table of examples, and each role against all that it may do."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from policies.bundle import shipped
from policies.engine import PolicyEngine
from policies.policy import Effect, Policy
from policies.vocabulary import Action, Entity, EntityRef, EntityType, Request, Role, Verdict

VECTORS: dict[str, Any] = tomllib.loads(
    (Path(__file__).parents[2] / "vectors" / "policy_examples.toml").read_text(encoding="utf-8")
)
CAST: dict[str, dict[str, Any]] = VECTORS["cast"]
EXAMPLES: list[tuple[str, dict[str, Any]]] = [
    (table["policy"], row) for table in VECTORS["table"] for row in table["rows"]
]
ACTORS = [name for name, member in CAST.items() if member["type"] in {"Account", "OperatingSystem"}]
ENGINE = PolicyEngine(shipped())

#: What each action is done to, when it is not the actor's own.
RESOURCES = {
    "web-shop": "guest.create guest.show guest.start guest.stop guest.delete guest.exec guest.copy_in guest.copy_out",
    "debian-12": "image.verify image.delete",
    "disk-key": "key.show",
    "keystore": "keystore.unseal keystore.seal",
    "log": "log.list log.show log.verify log.checkpoint log.epoch log.export log.prove log.replay",
    "host": "host.inspect",
    "another-account": "account.create account.disable account.password session.list token.create token.list "
    "token.revoke",
    "another-session": "session.end",
    "another-job": "job.cancel",
    "finding": "finding.acknowledge finding.close",
    "pci-report": "report.download",
    "site": "system.init system.start system.stop system.recover session.login account.list "
    "guest.list finding.list metrics.read image.list image.build image.import key.list policy.list policy.check "
    "report.create report.list",
}
RESOURCE_OF = {Action(action): name for name, actions in RESOURCES.items() for action in actions.split()}


def ref(name: str) -> EntityRef:
    return EntityRef(EntityType(CAST[name]["type"]), name)


def entity(name: str) -> Entity:
    member = CAST[name]
    kind = EntityType(member["type"])
    if kind is EntityType.ACCOUNT:
        roles = tuple(EntityRef(EntityType.ROLE, role) for role in member["roles"])
        return Entity(ref(name), {"active": member.get("active", True)}, roles)
    if kind is EntityType.GUEST:
        return Entity(ref(name), {"labels": member["labels"], "owner": "olga"})
    if kind in {EntityType.SESSION, EntityType.JOB}:
        return Entity(ref(name), {}, (ref(member["account"]),))
    return Entity(ref(name))


def request(who: str, does: Action, on: str, channel: str) -> Request:
    return Request(
        principal=ref(who),
        action=does,
        resource=ref(on),
        context={"channel": channel, "approvals": 0, "reason_given": False, "second_factor": False},
        entities=tuple(entity(name) for name in dict.fromkeys((who, on))),
    )


@pytest.mark.parametrize(
    ("policy", "row"),
    EXAMPLES,
    ids=[f"{policy}: {row['who']} {row['does']} {row['on']}" for policy, row in EXAMPLES],
)
def test_each_example_is_decided_as_the_table_says(policy: str, row: dict[str, Any]) -> None:
    channel = row.get("channel", "cli")
    decision = ENGINE.decide(request(row["who"], Action(row["does"]), row["on"], channel))
    assert (decision.verdict, list(decision.policies)) == (Verdict(row["verdict"]), row["by"])
    assert not decision.evaluation_failed
    assert policy in {p.id for p in shipped().policies}


@pytest.mark.parametrize("policy", shipped().policies, ids=lambda policy: policy.id)
def test_every_policy_has_an_example_that_it_decides_and_a_near_miss(policy: Policy) -> None:
    rows = [row for name, row in EXAMPLES if name == policy.id]
    decides, misses = ("allow", "deny") if policy.effect is Effect.PERMIT else ("deny", "allow")
    assert any(row["verdict"] == decides and policy.id in row["by"] for row in rows)
    assert any(row["verdict"] == misses and policy.id not in row["by"] for row in rows)


@pytest.mark.parametrize("who", VECTORS["may"])
def test_everybody_may_do_what_is_listed_and_nothing_else(who: str) -> None:
    allowed = {
        action
        for action in Action
        if ENGINE.decide(request(who, action, RESOURCE_OF[action], "cli")).verdict is Verdict.ALLOW
    }
    assert allowed == {Action(action) for action in VECTORS["may"][who]}


@pytest.mark.parametrize("action", sorted(set(Action) - {Action(word) for word in VECTORS["may"]["anna"]}))
def test_what_an_auditor_may_not_do_is_denied_by_a_policy_that_the_record_can_name(action: Action) -> None:
    decision = ENGINE.decide(request("anna", action, RESOURCE_OF[action], "cli"))
    assert (decision.verdict, decision.policies) == (Verdict.DENY, ("base.auditor-changes-nothing",))


def test_every_role_is_in_that_list_by_itself() -> None:
    alone = {
        member["roles"][0] for name in VECTORS["may"] if len((member := CAST[name]).get("roles", ())) == 1
    }
    assert alone == set(Role)


@pytest.mark.parametrize("who", ACTORS)
@pytest.mark.parametrize("guest", ["web-shop", "clinic-db", "card-app", "hospital-shop"])
def test_running_a_command_and_copying_either_way_are_decided_alike(who: str, guest: str) -> None:
    inside = (Action.GUEST_EXEC, Action.GUEST_COPY_IN, Action.GUEST_COPY_OUT)
    assert len({ENGINE.decide(request(who, action, guest, "cli")) for action in inside}) == 1


@pytest.mark.parametrize("action", Action)
def test_the_schema_knows_every_action_on_the_resource_it_acts_on(action: Action) -> None:
    decision = ENGINE.decide(request("anna", action, RESOURCE_OF[action], "cli"))
    assert not decision.evaluation_failed


def test_no_shipped_policy_demands_what_the_foundation_cannot_meet() -> None:
    assert [policy.id for policy in shipped().policies if policy.obligation] == []
