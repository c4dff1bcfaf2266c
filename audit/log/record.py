"""One record of the log: the draft a caller makes, and the record with its bytes and hash.

The bytes are made once and kept: they are what was hashed, stored and is verified (D4).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from re import Match

from audit.errors import RecordInvalid
from audit.log import canonical, shape
from audit.log.merkle import leaf_hash
from audit.log.shape import MAX_RECORD_BYTES, NO_PREV, Kind

_Bytes = bytes  # `bytes` names a field of Record

__all__ = ["MAX_RECORD_BYTES", "NO_PREV", "Draft", "Kind", "Record", "inputs_digest", "take_apart"]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a caller knows of a record; the writer adds `v, seq, prev, at, mono_ns, boot`, and an id.

    Attributes:
        kind: what the record tells.
        principal: who, as `account:<id>` or `os:<uid>`.
        action: what, as `guest.start`.
        resource: on what, as `guest:<id>`.
        decision: `allow`, `deny`, `unmet`, or None where no policy was asked.
        policies: ids of the policies that decided.
        bundle: SHA-256 of the policy bundle, hex; the writer must have been given the bundle before.
        inputs: canonical bytes of `{"context": {...}, "entities": [...]}` as the policy engine was given;
            stored once by digest.
        result: `{"code": "ok" or an error's code, "facts": {...}}`; None on intents. Facts hold ids, digests,
            sizes and the like, never names or free text (D3).
        source: `{"channel": ..., "address": sealed address in base64, or None}`.
        session: id of the session.
        intent: on an outcome, the id of its intent.
        id: 32 hex digits; None lets one be made.
    """

    kind: Kind
    principal: str
    action: str
    resource: str
    decision: str | None = None
    policies: tuple[str, ...] = ()
    bundle: str | None = None
    inputs: bytes | None = None
    result: Mapping[str, object] | None = None
    source: Mapping[str, object] | None = None
    session: str | None = None
    intent: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it is in the log. `bytes` are its canonical bytes, `leaf_hash` their hash (32 bytes)."""

    v: int
    seq: int
    prev: str
    id: str
    kind: Kind
    at: str
    mono_ns: int
    boot: str
    principal: str
    action: str
    resource: str
    decision: str | None
    policies: tuple[str, ...]
    bundle: str | None
    inputs: str | None
    result: Mapping[str, object] | None
    source: Mapping[str, object] | None
    session: str | None
    intent: str | None
    leaf_hash: _Bytes
    bytes: _Bytes

    @classmethod
    def parse(cls, untrusted: _Bytes) -> "Record":
        """Read a record from its bytes.

        Raises:
            RecordInvalid: they are not the canonical bytes of a record.
        """
        found = take_apart(untrusted)
        text = {name: value.decode() for name, value in found.groupdict().items() if value is not None}
        result: dict[str, object] | None = None
        if "code" in text:
            result = {"code": text["code"], "facts": json.loads(text["facts"])}
        source: dict[str, object] | None = None
        if "channel" in text:
            source = {"address": text.get("address"), "channel": text["channel"]}
        return cls(
            v=shape.VERSION,
            seq=int(text["seq"]),
            prev=text["prev"],
            id=text["id"],
            kind=Kind(text["kind"]),
            at=text["at"],
            mono_ns=int(text["mono_ns"]),
            boot=text["boot"],
            principal=text["principal"],
            action=text["action"],
            resource=text["resource"],
            decision=text.get("decision"),
            policies=tuple(text["policies"][1:-1].split('","')) if text["policies"] else (),
            bundle=text.get("bundle"),
            inputs=text.get("inputs"),
            result=result,
            source=source,
            session=text.get("session"),
            intent=text.get("intent"),
            leaf_hash=leaf_hash(untrusted),
            bytes=untrusted,
        )

    def time(self) -> datetime:
        """The instant `at`, aware, in UTC."""
        return datetime.fromisoformat(self.at)

    def document(self) -> dict[str, object]:
        """The record as a plain JSON object, the shape of INTERFACES.md."""
        document: dict[str, object] = json.loads(self.bytes)
        return document


def take_apart(untrusted: bytes) -> Match[bytes]:
    """Check that bytes are the canonical bytes of a record, and find its fields.

    Returns:
        The match of `shape.RECORD`, whose groups are the fields.

    Raises:
        RecordInvalid: they are not.
    """
    if len(untrusted) > MAX_RECORD_BYTES:
        raise RecordInvalid("The bytes are longer than any record.")
    found = shape.RECORD.fullmatch(untrusted)
    if found is None:
        raise RecordInvalid("The bytes do not have the shape of a record.")
    at, decision, kind, mono_ns, facts = found.group("at", "decision", "kind", "mono_ns", "facts")
    try:
        datetime.fromisoformat(at.decode())
    except ValueError as error:
        raise RecordInvalid("The record's time does not exist.") from error
    if int(mono_ns) > canonical.MAX_INTEGER:
        raise RecordInvalid("The record holds an integer beyond 2^53-1.")
    if facts is not None and facts != b"{}":
        canonical.parse(facts)
    shape.require_fitting(
        kind.decode(),
        decision=None if decision is None else decision.decode(),
        policies=found["policies"] != b"",
        result=facts is not None,
        ok=found["code"] == b"ok",
        intent=found["intent"] is not None,
    )
    return found


@lru_cache(maxsize=256)  # the same few inputs come again and again
def inputs_digest(inputs: bytes) -> str:
    """The digest, hex, under which a policy input is stored: SHA-256 of its canonical bytes.

    Raises:
        RecordInvalid: the bytes are not the canonical form of `{"context": {...}, "entities": [...]}`.
    """
    if len(inputs) > MAX_RECORD_BYTES:
        raise RecordInvalid("A policy input is longer than any should be.")
    value = canonical.parse(inputs)
    match value:
        case {"context": dict(), "entities": list(), **others} if not others:
            return sha256(inputs).hexdigest()
        case _:
            raise RecordInvalid("A policy input has a context and entities, and nothing else.")
