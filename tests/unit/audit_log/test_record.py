import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import NotCanonical, RecordInvalid
from audit.log import canonical, shape
from audit.log.drafting import Prepared, Stamp, format_time, take_stamp
from audit.log.merkle import leaf_hash
from audit.log.record import MAX_RECORD_BYTES, NO_PREV, Draft, Kind, Record, inputs_digest, take_apart
from tests.unit.audit_log.parts import (
    DIGEST,
    SteppingClock,
    access,
    denied,
    inputs_of,
    intent,
    outcome,
)

STAMP = Stamp("2026-03-01T12:00:00.000001Z", 17, "boot-1")
INTENT_ID = "00000000000000000000000000000001"
KEYS = [
    *("action", "at", "boot", "bundle", "decision", "id", "inputs", "intent", "kind", "mono_ns"),
    *("policies", "prev", "principal", "resource", "result", "seq", "session", "source", "v"),
]


def placed(draft: Draft, seq: int = 3, prev: str = "ab" * 32) -> Record:
    return Prepared(draft).place(seq, prev, STAMP)


names = st.text(st.sampled_from("!#$%&'()*+,-./09:;<=>?@AZ[]^_`az{|}~"), min_size=1, max_size=20)
facts = st.dictionaries(
    st.sampled_from(["rows", "größe", "disk", "seq", "prev", "v"]),
    st.integers(0, canonical.MAX_INTEGER)
    | st.sampled_from(["x", 'a"},"seq":9,"session":null,"source":null,"v":1}', "\\", "é"])
    | st.lists(st.booleans(), max_size=2),
    max_size=4,
)
drafts = st.builds(
    Draft,
    kind=st.just(Kind.OUTCOME),
    principal=names.map("account:{}".format),
    action=st.sampled_from(["guest.start", "key.show", "guest.copy_in"]),
    resource=names.map("guest:{}".format),
    decision=st.just("allow"),
    policies=st.lists(names, max_size=3).map(tuple),
    bundle=st.none() | st.just("cd" * 32),
    inputs=st.none() | st.integers(0, 3).map(inputs_of),
    result=facts.map(lambda each: {"code": "ok", "facts": each}),
    source=st.none()
    | st.sampled_from([{"channel": "web", "address": "QUJD"}, {"address": None, "channel": "daemon"}]),
    session=st.none() | names,
    intent=st.just(INTENT_ID),
)


@given(drafts)
def test_a_records_bytes_are_what_an_independent_canonicaliser_makes_of_it(draft: Draft) -> None:
    record = placed(draft)
    document = json.loads(record.bytes)
    assert rfc8785.dumps(document) == record.bytes
    assert list(document) == KEYS
    assert document["result"] == draft.result
    assert document["source"] == draft.source


@given(drafts)
def test_a_record_is_read_back_field_by_field(draft: Draft) -> None:
    record = placed(draft)
    assert Record.parse(record.bytes) == record
    assert record.leaf_hash == leaf_hash(record.bytes)


@pytest.mark.parametrize("draft", [intent(), access(), denied(), outcome(INTENT_ID)])
def test_every_key_is_there_also_where_it_does_not_apply(draft: Draft) -> None:
    record = placed(draft)
    assert list(record.document()) == KEYS
    assert record.document()["v"] == 1
    assert Record.parse(record.bytes) == record


def test_the_first_record_points_at_zeros() -> None:
    assert placed(access(), 0, NO_PREV).document()["prev"] == "0" * 64


def test_the_digest_of_policy_inputs_is_over_their_bytes() -> None:
    record = placed(intent(4))
    assert record.inputs == inputs_digest(inputs_of(4))
    assert record.inputs is not None
    assert len(record.inputs) == 64


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"context":{}}',
        b'{"context":[],"entities":[]}',
        b'{"context":{},"entities":{}}',
        b'{"context":{},"entities":[],"more":1}',
        b'{"entities":[],"context":{}}',
        b'{"context":{"a":0.5},"entities":[]}',
        b"[]",
        b'{"context":{"a":"' + b"x" * MAX_RECORD_BYTES + b'"},"entities":[]}',
    ],
)
def test_policy_inputs_out_of_shape_are_refused(data: bytes) -> None:
    with pytest.raises(RecordInvalid):
        Prepared(replace(intent(), inputs=data))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("principal", "olga"),
        ("principal", "account:Olga Operator"),
        ("principal", 'account:"'),
        ("principal", "account:\\"),
        ("principal", "account:"),
        ("principal", "account:ü"),
        ("principal", "account:" + "x" * 129),
        ("principal", None),
        ("action", "start"),
        ("action", "guest.Start"),
        ("action", "guest.start\n"),
        ("resource", "guest"),
        ("decision", "maybe"),
        ("policies", ("two words",)),
        ("policies", ("",)),
        ("bundle", "AB" * 32),
        ("bundle", "ab" * 31),
        ("session", "a b"),
        ("id", "x" * 32),
        ("id", "0" * 31),
        ("source", {"channel": "fax", "address": None}),
        ("source", {"channel": "web", "address": "10.0.0.1 "}),
        ("source", {"channel": "web"}),
        ("source", {"channel": "web", "address": None, "name": "x"}),
        ("kind", "rumour"),
    ],
)
def test_a_field_out_of_form_is_refused_without_being_repeated(field: str, value: object) -> None:
    with pytest.raises(RecordInvalid) as refusal:
        Prepared(intent(0, **{field: value}))
    assert str(value) not in str(refusal.value)


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"code": "ok"},
        {"code": "OK", "facts": {}},
        {"code": 1, "facts": {}},
        {"code": "ok", "facts": []},
        {"code": "ok", "facts": None},
        {"code": "ok", "facts": {}, "note": "x"},
    ],
)
def test_a_result_has_a_code_and_facts_and_nothing_else(result: Mapping[str, object]) -> None:
    with pytest.raises(RecordInvalid):
        Prepared(access(result=result))


@pytest.mark.parametrize("fact", [0.5, 2**53, "e\u0301", {1: 2}])
def test_facts_outside_canonical_json_are_refused(fact: object) -> None:
    with pytest.raises(NotCanonical):
        Prepared(access(result={"code": "ok", "facts": {"fact": fact}}))


def test_facts_too_large_for_a_record_are_refused() -> None:
    with pytest.raises(RecordInvalid, match="too large"):
        Prepared(access(result={"code": "ok", "facts": {"fact": "x" * MAX_RECORD_BYTES}}))


RESULT = {"code": "host.failure", "facts": {}}


@pytest.mark.parametrize(
    "draft",
    [
        intent(result=RESULT),
        intent(decision="deny"),
        intent(decision=None, policies=()),
        intent(intent=INTENT_ID),
        access(intent=INTENT_ID),
        access(result=None),
        access(decision=None),
        replace(outcome(INTENT_ID), result=None),
        replace(outcome(INTENT_ID), intent=None),
        denied(decision="allow"),
        denied(result=None),
        denied(result={"code": "ok", "facts": {}}),
        access(kind=Kind.PENDING),
        access(kind=Kind.PENDING, decision="unmet", result=None),
    ],
)
def test_fields_that_contradict_each_other_are_refused_in_drafts(draft: Draft) -> None:
    with pytest.raises(RecordInvalid):
        Prepared(draft)


@pytest.mark.parametrize(
    "draft",
    [
        access(kind=Kind.PENDING, decision="unmet", result=RESULT),
        access(kind=Kind.SYSTEM, decision=None, policies=(), result=None),
        access(kind=Kind.EXTERNAL, decision=None, policies=(), result=RESULT),
        access(kind=Kind.RECOVERY, decision=None, policies=()),
        denied(decision=None, bundle=None, result={"code": "session.not_authenticated", "facts": {}}),
    ],
)
def test_the_other_kinds_of_record_are_written_and_read(draft: Draft) -> None:
    assert Record.parse(placed(draft).bytes).kind is draft.kind


GOOD = placed(intent(id="ab" * 16)).bytes.decode()


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace('"v":1', '"v":2'),
        GOOD.replace('"seq":3', '"seq":03'),
        GOOD.replace('"seq":3', '"seq":-3'),
        GOOD.replace('"seq":3', '"seq":"3"'),
        GOOD.replace('"seq":3,', ""),
        GOOD.replace('"v":1', '"v":1,"w":2'),
        GOOD.replace('{"action"', '{ "action"'),
        GOOD + "\n",
        GOOD + " ",
        "\ufeff" + GOOD,
        GOOD.replace("12:00:00.000001Z", "12:00:00.00001Z"),
        GOOD.replace("12:00:00.000001Z", "12:00:00.000001+00:00"),
        GOOD.replace("2026-03-01", "2026-02-30"),
        GOOD.replace("12:00:00", "12:00:60"),
        GOOD.replace("2026-03-01", "٢٠٢٦-03-01"),
        GOOD.replace('"mono_ns":17', '"mono_ns":9007199254740992'),
        GOOD.replace('"kind":"intent"', '"kind":"rumour"'),
        GOOD.replace('"decision":"allow"', '"decision":"deny"'),
        GOOD.replace('"result":null', '"result":{"code":"ok","facts":{}}'),
        GOOD.replace("account:", "account:\\u0041"),
        "{}",
        "",
        "null",
    ],
)
def test_bytes_that_are_not_a_record_in_canonical_form_are_refused(text: str) -> None:
    assert text != GOOD
    with pytest.raises(RecordInvalid):
        Record.parse(text.encode())


@pytest.mark.parametrize(
    "facts", [b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1.5}', b'{"a":1}}', b"{"]
)
def test_facts_that_are_not_canonical_are_refused_in_stored_bytes(facts: bytes) -> None:
    data = placed(outcome(INTENT_ID, facts={})).bytes.replace(b'"facts":{}', b'"facts":' + facts)
    with pytest.raises(RecordInvalid):
        take_apart(data)


def test_a_line_longer_than_any_record_is_refused_unread() -> None:
    with pytest.raises(RecordInvalid, match="longer"):
        take_apart(b"x" * (MAX_RECORD_BYTES + 1))


def test_a_time_is_written_with_fixed_width_in_utc() -> None:
    assert format_time(datetime(2026, 3, 1, 1, 2, 3, tzinfo=UTC)) == "2026-03-01T01:02:03.000000Z"
    elsewhere = timezone(timedelta(hours=5, minutes=30))
    assert format_time(datetime(2026, 3, 1, 1, 2, 3, 45, elsewhere)) == "2026-02-28T19:32:03.000045Z"


def test_a_records_time_is_read_as_an_aware_instant() -> None:
    assert placed(access()).time() == datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)


def test_a_clock_without_time_zone_or_with_a_strange_boot_id_is_refused() -> None:
    with pytest.raises(RecordInvalid, match="time zone"):
        take_stamp(SteppingClock(instant=datetime(2026, 3, 1)))  # noqa: DTZ001 - what is to be refused
    with pytest.raises(RecordInvalid):
        take_stamp(SteppingClock(boot="two words"))


def test_a_hundred_and_five_days_of_uptime_still_fit_a_json_integer() -> None:
    days_ns = 105 * 24 * 3600 * 10**9
    assert days_ns > canonical.MAX_INTEGER
    stamp = take_stamp(SteppingClock(elapsed_ns=days_ns))
    assert stamp.mono_ns == (days_ns + 1_000_000) - 2**53
    assert Record.parse(Prepared(access()).place(0, NO_PREV, stamp).bytes).mono_ns == stamp.mono_ns


def test_ids_made_one_after_another_differ_and_carry_the_version_of_rfc_9562() -> None:
    ids = [Prepared(access()).id for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(each[12] == "7" and each[16] in "89ab" for each in ids)
    assert ids[0][:8] <= ids[-1][:8]


def test_every_way_to_change_one_byte_of_a_record_changes_its_leaf_or_is_refused() -> None:
    record = placed(outcome(INTENT_ID))
    for position in range(len(record.bytes)):
        changed = bytearray(record.bytes)
        changed[position] ^= 1
        assert leaf_hash(bytes(changed)) != record.leaf_hash


def test_the_form_of_each_kind_is_known() -> None:
    assert {str(kind) for kind in Kind} == {
        "intent", "outcome", "access", "denied", "pending", "recovery", "external", "system",
    }  # fmt: skip
    assert shape.VERSION == 1
    assert placed(intent()).bundle == DIGEST
