"""The shape of a record, field by field: which text may stand where, and which fields go together.

Values are restricted to ids, names of ours, numbers and times, none of which needs a JSON escape. So one
regular expression tells whether bytes are a record in canonical form, and takes it apart; only the one
open-ended field, `result.facts`, is left to the canonical JSON reader. Verification needs that for its speed.
"""

import re
from enum import StrEnum
from functools import lru_cache

from audit.errors import RecordInvalid

#: Version of the record's shape; a change of shape is a new number (INTERFACES.md).
VERSION = 1

#: Longest record and longest policy input, in bytes. Far above real ones, so that no line exhausts a reader.
MAX_RECORD_BYTES = 1 << 20

#: `prev` of the first record.
NO_PREV = "0" * 64


class Kind(StrEnum):
    """What a record tells."""

    INTENT = "intent"  # an access was allowed and is about to happen
    OUTCOME = "outcome"  # how an intent ended
    ACCESS = "access"  # a read: decision and result in one record
    DENIED = "denied"  # final: refused
    PENDING = "pending"  # final: waits for an obligation; the repeated request is a new access
    RECOVERY = "recovery"  # what a restart found and settled
    EXTERNAL = "external"  # seen to happen outside the gate
    SYSTEM = "system"  # the daemon's own doings


# Printable ASCII without space, quotation mark and backslash: needs no escape, holds no sentence.
_NAME = r"[!#-\[\]-~]{1,128}"

ID = r"[0-9a-f]{32}"
DIGEST = r"[0-9a-f]{64}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
INTEGER = r"(?:0|[1-9]\d{0,15})"
REFERENCE = rf"[a-z][a-z_]*:{_NAME}"  # a principal or resource, `guest:1f0c…`
ACTION = r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+"
DECISION = r"allow|deny|unmet"
CODE = r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*"
CHANNEL = r"cli|web|api|local|daemon"
ADDRESS = r"[A-Za-z0-9+/]{1,1024}={0,2}"  # sealed, base64
NAME = _NAME

_FIELDS = {
    name: re.compile(pattern, re.ASCII)
    for name, pattern in {
        "id": ID,
        "kind": "|".join(Kind),
        "principal": REFERENCE,
        "action": ACTION,
        "resource": REFERENCE,
        "decision": DECISION,
        "policy": NAME,
        "bundle": DIGEST,
        "session": NAME,
        "intent": ID,
        "boot": NAME,
        "channel": CHANNEL,
        "address": ADDRESS,
        "code": CODE,
    }.items()
}


def _or_null(name: str, pattern: str) -> str:
    return rf'(?:null|"(?P<{name}>{pattern})")'


#: A record in canonical form: every key, in the order of RFC 8785, nothing else.
RECORD = re.compile(
    (
        rf'\{{"action":"(?P<action>{ACTION})"'
        rf',"at":"(?P<at>{TIME})"'
        rf',"boot":"(?P<boot>{NAME})"'
        rf',"bundle":{_or_null("bundle", DIGEST)}'
        rf',"decision":{_or_null("decision", DECISION)}'
        rf',"id":"(?P<id>{ID})"'
        rf',"inputs":{_or_null("inputs", DIGEST)}'
        rf',"intent":{_or_null("intent", ID)}'
        rf',"kind":"(?P<kind>{"|".join(Kind)})"'
        rf',"mono_ns":(?P<mono_ns>{INTEGER})'
        rf',"policies":\[(?P<policies>(?:"{NAME}"(?:,"{NAME}")*)?)\]'
        rf',"prev":"(?P<prev>{DIGEST})"'
        rf',"principal":"(?P<principal>{REFERENCE})"'
        rf',"resource":"(?P<resource>{REFERENCE})"'
        rf',"result":(?P<result>null|\{{"code":"(?P<code>{CODE})","facts":(?P<facts>\{{.*\}})\}})'
        rf',"seq":(?P<seq>{INTEGER})'
        rf',"session":{_or_null("session", NAME)}'
        rf',"source":(?P<source>null|\{{"address":{_or_null("address", ADDRESS)}'
        rf',"channel":"(?P<channel>{CHANNEL})"\}})'
        rf',"v":{VERSION}\}}'
    ).encode()
)


def require(field: str, value: object) -> str:
    """Check one field of a draft.

    Raises:
        RecordInvalid: the value is not text of the field's form. The value is not repeated: it may be a name.
    """
    if not isinstance(value, str) or not _FIELDS[field].fullmatch(value):
        raise RecordInvalid(f"The field {field} of a record does not have its form.")
    return str(value)


@lru_cache(maxsize=512)  # few combinations occur, and a verification asks for each record
def require_fitting(
    kind: str, *, decision: str | None, policies: bool, result: bool, ok: bool, intent: bool
) -> None:
    """Check what must go together in a record of this kind.

    Args:
        kind: the record's kind.
        decision: its decision.
        policies: whether it names deciding policies.
        result: whether it has a result.
        ok: whether the result's code is `ok`.
        intent: whether it names an intent.

    Raises:
        RecordInvalid: the fields contradict each other.
    """
    if intent and kind != Kind.OUTCOME:
        raise RecordInvalid("Only an outcome names an intent.")
    if policies and decision is None:
        raise RecordInvalid("A record without decision names policies that decided.")
    match kind:
        case Kind.INTENT if result or decision != "allow":
            raise RecordInvalid("An intent has the decision allow and no result yet.")
        case Kind.OUTCOME if not (result and intent):
            raise RecordInvalid("An outcome has a result and names its intent.")
        case Kind.DENIED if decision == "allow" or not result or ok:
            raise RecordInvalid("A denied record has a code that says why, and no decision to allow.")
        case Kind.PENDING if decision != "unmet" or not result:
            raise RecordInvalid("A pending record has the decision unmet and a result.")
        case Kind.ACCESS if not result:
            raise RecordInvalid("An access has its decision and result in one record.")
        case _:
            return
