"""The gate's price: an access through it, against a bare Cedar decision and bare durable commits.

Ours is everything that `Gate.run` and `Gate.read` do on a real site: the lock, roles and labels read from the
state database, the decision, and each record canonical, chained, indexed and durable. The act itself does nothing.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import cedarpy

from audit.log.query import LogQuery
from audit.log.record import Kind
from policies.inputs import entity_uid, inputs_document
from policies.vocabulary import Action, EntityRef, Request, Role, Value
from tests.bench.raw_sqlite import RawTable
from tests.bench.rounds import percentile_ms, side_by_side
from tests.bench.row import Row
from tests.bench.subject import Setting, Subject
from tests.fakes.permits import permit_for
from vault.config import Settings
from vault.entities import EntityBuilder, guest_ref
from vault.foundation import Foundation, open_foundation
from vault.gate import Access, Caller
from vault.identity.accounts import account_ref
from vault.model import Guest, GuestState, new_id
from vault.operations.init import init_site

_ROUNDS = 40
_CALLS_A_ROUND = 20
_EFFECT = (
    "Gate: decision, durable intent and outcome; against one Cedar decision and two durable SQLite rows (p50)"
)
_READ = (
    "Gate: decision, durable record of a read; against one Cedar decision and one durable SQLite row (p50)"
)
_PASSWORD = "a long passw0rd"
_PASSPHRASE = b"correct horse battery 7"


class GateAndBare:
    """A site with an operator and a guest, and beside it the bare parts, on the same disk."""

    def __init__(self, setting: Setting, stack: ExitStack) -> None:
        settings = replace(Settings(), data_dir=setting.folder / "site")
        init_site(settings, "ada-admin", _PASSWORD, bytearray(_PASSPHRASE))
        self._site = open_foundation(settings)
        stack.callback(self._site.close)
        self._site.log.declare_recovered()
        caller, guest = _people_and_guest(self._site)
        self._effect = Access(caller, Action.GUEST_START, guest)
        self._read = Access(caller, Action.GUEST_SHOW, guest)
        self.effect()
        self.read()
        with LogQuery(settings.log_db) as log:
            size = log.size()
            written = [log.by_seq(seq) for seq in range(size - 3, size)]
        if [record.kind for record in written] != [Kind.INTENT, Kind.OUTCOME, Kind.ACCESS]:
            raise AssertionError("An access did not leave the records that it should.")
        self._intent, self._outcome, self._access = (record.bytes for record in written)
        self._table = RawTable(setting.folder / "bare.db")
        stack.callback(self._table.close)
        self._bare_effect = BareDecision(self._site, self._effect)
        self._bare_read = BareDecision(self._site, self._read)

    def effect(self) -> None:
        """An access with an effect, whose act does nothing."""
        self._site.gate.run(
            self._effect, lambda permit: permit.require(self._effect.resource, self._effect.action)
        )

    def read(self) -> None:
        """A read of nothing."""
        self._site.gate.read(self._read, lambda: None)

    def bare_effect(self) -> None:
        """One decision, two durable rows of the same bytes."""
        self._bare_effect.decide()
        self._table.add(self._intent)
        self._table.add(self._outcome)

    def bare_read(self) -> None:
        """One decision, one durable row of the same bytes."""
        self._bare_read.decide()
        self._table.add(self._access)


class BareDecision:
    """Cedar asked as its documentation says: policies, schema and entities parsed once, all policies given."""

    def __init__(self, site: Foundation, access: Access) -> None:
        texts = [text.decode() for name, text in sorted(site.bundle.files.items()) if name.endswith(".cedar")]
        self._policies = cedarpy.PolicySet.from_str("\n".join(texts))
        self._schema = cedarpy.Schema.from_str(site.bundle.schema)
        context: dict[str, Value] = {
            "channel": "cli",
            "approvals": 0,
            "reason_given": False,
            "second_factor": False,
        }
        entities = EntityBuilder(site.database).entities_for(access)
        request = Request(access.caller.principal, access.action, access.resource, context, entities)
        document = inputs_document(request)
        self._entities = cedarpy.Entities.from_json_str(json.dumps(document["entities"]), self._schema)
        self._query = {
            "principal": entity_uid(access.caller.principal),
            "action": {"type": "Action", "id": access.action.value},
            "resource": entity_uid(access.resource),
            "context": document["context"],
        }

    def decide(self) -> None:
        """Ask; it is always allowed."""
        if not cedarpy.is_authorized(self._query, self._policies, self._entities, self._schema).allowed:
            raise AssertionError("The bare decision is another than the gate's.")


def _people_and_guest(site: Foundation) -> tuple[Caller, EntityRef]:
    """An operator who is logged in, and a guest of theirs."""
    account_id, guest_id = new_id(), new_id()
    permit = permit_for(Action.ACCOUNT_CREATE, account_ref(account_id))
    site.accounts.create(permit, account_id, "olga-operator", _PASSWORD, [Role.OPERATOR])
    with site.database.session() as session:
        session.add(
            Guest(
                id=guest_id,
                name="clinic",
                state=GuestState.READY,
                labels=["ephi"],
                owner=account_id,
                image_id=new_id(),
                vcpus=1,
                memory_bytes=2**28,
                uid=1_000_001,
                mac="52:54:00:00:00:01",
            )
        )
    return Caller(account_ref(account_id), "cli", session=new_id()), guest_ref(guest_id)


def measure(setting: Setting, wanted: frozenset[str]) -> Iterator[Row]:
    """Measure the gate."""
    with ExitStack() as stack:
        pair = GateAndBare(setting, stack)
        for row_id, name, ours, theirs in (
            ("gate.effect", _EFFECT, pair.effect, pair.bare_effect),
            ("gate.read", _READ, pair.read, pair.bare_read),
        ):
            if row_id in wanted:
                setting.say(f"{row_id}: {_ROUNDS} rounds of {_CALLS_A_ROUND} accesses")
                rounds = side_by_side(
                    partial(percentile_ms, ours, _CALLS_A_ROUND, 50),
                    partial(percentile_ms, theirs, _CALLS_A_ROUND, 50),
                    _ROUNDS,
                )
                yield Row(row_id, name, rounds, "ms", "ratio >= 0.5")


SUBJECT = Subject(("gate.effect", "gate.read"), measure)
