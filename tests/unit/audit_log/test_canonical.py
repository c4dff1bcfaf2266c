import json
import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from audit.errors import NotCanonical
from audit.log import canonical

integers = st.integers(-canonical.MAX_INTEGER, canonical.MAX_INTEGER)
text = st.text().map(lambda each: unicodedata.normalize("NFC", each))
values = st.recursive(
    st.none() | st.booleans() | integers | text,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text, inner, max_size=5),
    max_leaves=20,
)


@given(values)
@example({"\U00010000": 1, "\ue000": 2})  # code points and UTF-16 code units sort these differently
@example({"\x7f": '"\\\b\t\n\f\r\x00\x1f/', "é": "é", "": []})
@example({"b": {"a": [], "": {}}, "a": [True, False, None, -0, 10**15]})
def test_bytes_are_those_of_an_independent_rfc_8785_implementation(value: object) -> None:
    assert canonical.encode(value) == rfc8785.dumps(value)  # type: ignore[arg-type]  # only such values are made


@given(values)
def test_canonical_bytes_are_read_back_as_the_value(value: object) -> None:
    assert canonical.parse(canonical.encode(value)) == value


class Word(StrEnum):
    YES = "yes"


def test_tuples_mappings_and_text_enums_are_written_as_lists_objects_and_text() -> None:
    value = {"a": (1, Word.YES), "b": MappingProxyType({"c": None})}
    assert canonical.encode(value) == b'{"a":[1,"yes"],"b":{"c":null}}'


def nested(levels: int) -> object:
    value: object = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        float("inf"),
        2**53,
        -(2**53),
        b"bytes",
        {1: "number as key"},
        {None: 1},
        {True: 1},
        "lone surrogate \ud800",
        {"\udfff": 1},
        "not NFC: e\u0301",
        {"e\u0301": 1},
        {"deep": [{"deeper": {1, 2}}]},
        nested(canonical.MAX_DEPTH + 1),
    ],
)
def test_what_records_may_not_hold_is_refused(value: object) -> None:
    with pytest.raises(NotCanonical):
        canonical.encode(value)


def test_the_deepest_allowed_nesting_is_written_and_read() -> None:
    value = nested(canonical.MAX_DEPTH)
    assert canonical.parse(canonical.encode(value)) == value


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b" 1",
        b"1.0",
        b"1e3",
        b"-0",
        b"01",
        b"NaN",
        b"Infinity",
        b"9007199254740992",
        b"1" * 5000,
        b'"\\u0041"',
        b'"\\/"',
        b'"\\ud800"',
        '"e\u0301"'.encode(),
        b'"\xff"',
        b"\xef\xbb\xbf1",
        b"",
        b"{",
        b"[" * 100_000,
        b"{}{}",
    ],
)
def test_bytes_that_are_not_the_one_canonical_form_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        canonical.parse(data)


@given(values, st.data())
def test_no_changed_byte_gives_the_same_value(value: object, data: st.DataObject) -> None:
    written = canonical.encode(value)
    position = data.draw(st.integers(0, len(written) - 1))
    changed = bytearray(written)
    changed[position] ^= data.draw(st.integers(1, 255))
    try:
        read = canonical.parse(bytes(changed))
    except NotCanonical:
        return
    assert json.dumps(read) != json.dumps(value)


def test_a_mapping_that_is_not_a_dict_is_checked_as_deeply() -> None:
    value: Mapping[str, object] = MappingProxyType({"a": MappingProxyType({"b": 0.5})})
    with pytest.raises(NotCanonical):
        canonical.encode(value)
