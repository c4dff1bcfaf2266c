"""Checks of keys as they lie: wrapped, bound to what they are for, and well made."""

from dataclasses import replace

from audit.evidence.check import Check, CheckResult, Snapshot, Support, Table, judged, not_evaluated
from audit.evidence.facts import KeyFacts
from audit.evidence.framework import Framework
from audit.evidence.instant import format_instant
from audit.evidence.verdict import Verdict

DESTROYED = "destroyed"
_WRAP = "AES-256-GCM"
_MIN_BITS = 256
_GENERATORS = frozenset({"os-csprng", "pkcs11", "tpm2"})
_KEK = "kek"


def present_keys(snapshot: Snapshot) -> list[KeyFacts]:
    """Keys that still exist, by purpose and id."""
    found = [key for key in snapshot.facts.keys if key.state != DESTROYED]
    return sorted(found, key=lambda key: (key.purpose, key.id))


def _wrapped(snapshot: Snapshot) -> CheckResult:
    keys = [key for key in present_keys(snapshot) if key.purpose != _KEK]
    store = snapshot.facts.key_store
    bare = [k for k in keys if k.wrapped_by is None or k.algorithm != _WRAP]
    query = (
        "every key not destroyed: what wraps it, and how; search of the key store's files for plaintext keys"
    )
    table = Table.of(
        ("key", "purpose", "state", "wrapped by", "algorithm", "location"),
        ((k.id, k.purpose, k.state, k.wrapped_by, k.algorithm, k.location) for k in keys),
    )
    found = int(bool(store.plaintext_found))
    result = judged(
        population=len(keys),
        violations=len(bare) + found,
        unit="keys",
        query=query,
        holds=(
            f"Every key ({len(keys)}) lies wrapped with {_WRAP} under the root key; no plaintext key was found."
        ),
        fails=(
            "A plaintext key was found in the key store's files."
            if found
            else f"Keys that do not lie wrapped with {_WRAP}: {len(bare)} of {len(keys)}."
        ),
        empty="The key store holds no key.",
        table=table,
    )
    if result.verdict is Verdict.SATISFIED and store.plaintext_found is None:
        reason = (
            f"Every key ({len(keys)}) is recorded as wrapped with {_WRAP}. Not tested: that no plaintext key lies in "
            "the store's files."
        )
        return replace(result, verdict=Verdict.PARTIAL, reason=reason)
    return result


def _well_made(snapshot: Snapshot) -> CheckResult:
    keys = present_keys(snapshot)
    unknown = [k for k in keys if k.generator is None or k.bits is None]
    query = "every key not destroyed: generator and length"
    table = Table.of(
        ("key", "purpose", "bits", "generator", "created (UTC)"),
        ((k.id, k.purpose, k.bits, k.generator, format_instant(k.created_at)) for k in keys),
    )
    if unknown:
        return not_evaluated(
            f"Generator or length of {len(unknown)} of {len(keys)} keys was not reported.",
            unit="keys",
            query=query,
            table=table,
        )
    weak = [k for k in keys if (k.bits or 0) < _MIN_BITS or k.generator not in _GENERATORS]
    return judged(
        population=len(keys),
        violations=len(weak),
        unit="keys",
        query=query,
        holds=f"Every key ({len(keys)}) has at least {_MIN_BITS} bits from an approved generator.",
        fails=f"Keys that are shorter, or not from an approved generator: {len(weak)} of {len(keys)}.",
        empty="The key store holds no key.",
        table=table,
    )


def _metadata_bound(snapshot: Snapshot) -> CheckResult:
    keys = [key for key in present_keys(snapshot) if key.purpose != _KEK]
    bound = snapshot.facts.key_store.metadata_bound
    query = "every wrapped key opened with its own metadata as associated data, and with another's"
    if bound is None:
        return not_evaluated(
            "The key store did not try to open its keys with other keys' metadata.", unit="keys", query=query
        )
    return judged(
        population=len(keys),
        violations=0 if bound else len(keys),
        unit="keys",
        query=query,
        holds=f"Every wrapped key ({len(keys)}) opens with its own id, version, purpose and owner, and no others.",
        fails="A wrapped key opened with metadata that is not its own, so one key could take another's place.",
        empty="The key store holds no key.",
    )


CHECKS = (
    Check(
        id="key.wrapped",
        version=1,
        title="Keys lie wrapped at rest",
        supports={
            Framework.HIPAA: (Support("164.312(a)(2)(iv)"),),
            Framework.PCI: (
                Support("3.6.1.2", "the key store is a process, not a certified secure cryptographic device"),
                Support("3.7.3"),
            ),
        },
        evaluate=_wrapped,
    ),
    Check(
        id="key.well_made",
        version=1,
        title="Keys are long enough and come from an approved generator",
        supports={Framework.PCI: (Support("3.7.1"),)},
        evaluate=_well_made,
    ),
    Check(
        id="key.metadata_bound",
        version=1,
        title="No wrapped key can take another's place",
        supports={Framework.PCI: (Support("3.7.7"),)},
        evaluate=_metadata_bound,
    ),
)
