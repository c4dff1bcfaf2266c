"""The stored document of a request: equal requests, equal documents; and nothing is lost on the way."""

import json
from dataclasses import replace

from policies.inputs import inputs_document
from policies.vocabulary import Entity, EntityRef, EntityType
from tests.unit.policies.small_bundles import ACCOUNT, GUEST, account, guest, start_request

REQUEST = start_request("operator")


def test_the_document_is_cedars_own_format() -> None:
    assert inputs_document(REQUEST) == {
        "context": {"approvals": 0, "channel": "cli", "reason_given": False, "second_factor": False},
        "entities": [
            {
                "uid": {"type": "Account", "id": ACCOUNT.id},
                "attrs": {"active": True},
                "parents": [{"type": "Role", "id": "operator"}],
            },
            {
                "uid": {"type": "Guest", "id": GUEST.id},
                "attrs": {"labels": [], "owner": ACCOUNT.id},
                "parents": [],
            },
        ],
    }


def test_the_order_in_which_a_caller_says_things_does_not_matter() -> None:
    roles = tuple(EntityRef(EntityType.ROLE, role) for role in ("operator", "custodian"))
    one = replace(
        REQUEST,
        entities=(Entity(ACCOUNT, {"active": True}, roles), guest("ephi", "chd")),
    )
    other = replace(
        REQUEST,
        context=dict(sorted(REQUEST.context.items(), reverse=True)),
        entities=(
            Entity(GUEST, {"owner": ACCOUNT.id, "labels": ["chd", "ephi"]}),
            Entity(ACCOUNT, {"active": True}, roles[::-1]),
        ),
    )
    assert json.dumps(inputs_document(one)) == json.dumps(inputs_document(other))


def test_what_differs_stays_different() -> None:
    requests = [
        REQUEST,
        replace(REQUEST, entities=(account("operator", active=False), guest())),
        replace(REQUEST, entities=(account("auditor"), guest())),
        replace(REQUEST, entities=(account("operator"), guest("ephi"))),
        replace(REQUEST, entities=(account("operator"),)),
        start_request("operator", context={"approvals": 1}),
    ]
    assert len({json.dumps(inputs_document(request)) for request in requests}) == len(requests)


def test_a_callers_labels_are_not_reordered_under_its_hands() -> None:
    labels = ["ephi", "chd"]
    inputs_document(replace(REQUEST, entities=(Entity(GUEST, {"labels": labels, "owner": "x"}),)))
    assert labels == ["ephi", "chd"]
