"""From a draft to a record: what is checked and written before its place in the log is known, and after.

The text made here is canonical by construction: keys stand in the order of RFC 8785, the forms of the fields
leave nothing to escape, and facts go through the canonical encoder. A property test compares with `rfc8785`.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from audit.errors import RecordInvalid
from audit.log import canonical, shape
from audit.log.merkle import leaf_hash
from audit.log.record import Draft, Record, inputs_digest
from audit.log.shape import MAX_RECORD_BYTES, Kind
from audit.ports import Clock


@dataclass(frozen=True, slots=True)
class Stamp:
    """When and under which boot a record was made, as records write it."""

    at: str
    mono_ns: int
    boot: str


class Prepared:
    """A draft that was checked and made into text as far as that goes without its place in the log.

    Made in the caller's thread, so that the writer's thread has little to do and no draft can spoil a batch.

    Raises:
        RecordInvalid: a field is out of form, or fields contradict each other.
    """

    __slots__ = ("_to_at", "_to_end", "_to_mono", "_to_prev", "_to_seq", "draft", "id", "inputs_digest")

    def __init__(self, draft: Draft) -> None:
        result, source = draft.result, draft.source
        code, facts = _members("result", result, "code", "facts")
        channel, address = _members("source", source, "channel", "address")
        if result is not None and not isinstance(facts, Mapping):
            raise RecordInvalid("The facts of a result must be an object.")
        shape.require_fitting(
            draft.kind,
            decision=draft.decision,
            policies=bool(draft.policies),
            result=result is not None,
            ok=code == "ok",
            intent=draft.intent is not None,
        )
        self.draft = draft
        self.id = _new_id() if draft.id is None else shape.require("id", draft.id)
        self.inputs_digest = None if draft.inputs is None else inputs_digest(draft.inputs)
        policies = ",".join(_quoted("policy", each) for each in draft.policies)
        written_result = "null"
        if result is not None:
            written_facts = canonical.encode(facts).decode() if facts else "{}"
            written_result = f'{{"code":{_quoted("code", code)},"facts":{written_facts}}}'
        written_source = "null"
        if source is not None:
            written_source = (
                f'{{"address":{_or_null("address", address)},"channel":{_quoted("channel", channel)}}}'
            )
        self._to_at = f'{{"action":{_quoted("action", draft.action)},"at":"'
        self._to_mono = (
            f',"bundle":{_or_null("bundle", draft.bundle)},"decision":{_or_null("decision", draft.decision)}'
            f',"id":"{self.id}","inputs":{_or_null("bundle", self.inputs_digest)}'
            f',"intent":{_or_null("intent", draft.intent)},"kind":{_quoted("kind", draft.kind)},"mono_ns":'
        )
        self._to_prev = f',"policies":[{policies}],"prev":"'
        self._to_seq = (
            f'","principal":{_quoted("principal", draft.principal)}'
            f',"resource":{_quoted("resource", draft.resource)},"result":{written_result},"seq":'
        )
        self._to_end = (
            f',"session":{_or_null("session", draft.session)},"source":{written_source},"v":{shape.VERSION}}}'
        )
        if len(self._to_seq) > MAX_RECORD_BYTES // 8 and len(self._to_seq.encode()) > MAX_RECORD_BYTES // 2:
            raise RecordInvalid("The facts of a record are too large.", "Record a digest of them instead.")

    def place(self, seq: int, prev: str, stamp: Stamp) -> Record:
        """Make the record for its place in the log.

        Args:
            seq: its number.
            prev: leaf hash of the record before, hex; `NO_PREV` for the first.
            stamp: when it is made.
        """
        draft = self.draft
        data = (
            f'{self._to_at}{stamp.at}","boot":"{stamp.boot}"{self._to_mono}{stamp.mono_ns}'
            f"{self._to_prev}{prev}{self._to_seq}{seq}{self._to_end}"
        ).encode()
        return Record(
            v=shape.VERSION,
            seq=seq,
            prev=prev,
            id=self.id,
            kind=draft.kind,
            at=stamp.at,
            mono_ns=stamp.mono_ns,
            boot=stamp.boot,
            principal=draft.principal,
            action=draft.action,
            resource=draft.resource,
            decision=draft.decision,
            policies=draft.policies,
            bundle=draft.bundle,
            inputs=self.inputs_digest,
            result=draft.result,
            source=draft.source,
            session=draft.session,
            intent=draft.intent,
            leaf_hash=leaf_hash(data),
            bytes=data,
        )


def _new_id() -> str:
    """A UUID version 7 (RFC 9562 section 5.7) without hyphens: 48 bits of time, 74 random bits.

    The time in front keeps neighbours in the log neighbours in its index of ids, without which each append
    would touch an index page of its own.
    """
    milliseconds = time.time_ns() // 1_000_000 & 0xFFFF_FFFF_FFFF
    random = int.from_bytes(os.urandom(10))
    upper, lower = random >> 64 & 0xFFF, random & 0x3FFF_FFFF_FFFF_FFFF
    return f"{milliseconds << 80 | 0x7 << 76 | upper << 64 | 0b10 << 62 | lower:032x}"


def outcome_of(intent: Record, code: str, facts: dict[str, object]) -> Draft:
    """The outcome of an intent that the daemon settles by itself, not the access that began it."""
    return Draft(
        kind=Kind.OUTCOME,
        principal=intent.principal,
        action=intent.action,
        resource=intent.resource,
        result={"code": code, "facts": facts},
        source={"address": None, "channel": "daemon"},
        session=intent.session,
        intent=intent.id,
    )


def take_stamp(clock: Clock) -> Stamp:
    """Ask the clock, and write its answers as records do.

    The monotonic clock is kept modulo 2^53, since a JSON integer cannot hold more (RFC 8785 section 3.2.2.3):
    it starts again from 0 after 104 days of uptime, and differences within a boot are to be read so.

    Raises:
        RecordInvalid: the clock gave an instant without time zone, or a boot id out of form.
    """
    now = clock.now()
    if now.tzinfo is None:
        raise RecordInvalid("The clock gave an instant without a time zone.")
    return Stamp(
        at=format_time(now),
        mono_ns=clock.mono_ns() & canonical.MAX_INTEGER,
        boot=_quoted("boot", clock.boot_id())[1:-1],
    )


def format_time(instant: datetime) -> str:
    """Write an aware instant with fixed width: `YYYY-MM-DDTHH:MM:SS.mmmmmmZ` (RFC 3339, UTC)."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return instant.isoformat(timespec="microseconds")[:-6] + "Z"


def _members(
    field: str, value: Mapping[str, object] | None, first: str, second: str
) -> tuple[object, object]:
    """Take a two-member object of a draft apart."""
    if value is None:
        return None, None
    if set(value) != {first, second}:
        raise RecordInvalid(f"The {field} of a record has the members {first} and {second}, and no others.")
    return value[first], value[second]


def _quoted(field: str, value: object) -> str:
    return _quoted_text(field, value) if isinstance(value, str) else f'"{shape.require(field, value)}"'


@lru_cache(maxsize=4096)  # nearly all text of a record stands in others too
def _quoted_text(field: str, text: str) -> str:
    # The forms allow no character that JSON would escape.
    return f'"{shape.require(field, text)}"'


def _or_null(field: str, value: object) -> str:
    return "null" if value is None else _quoted(field, value)
