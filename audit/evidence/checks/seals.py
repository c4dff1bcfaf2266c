"""Checks of the root key's seal: as strong as what lies under it, and not one person's alone."""

import math

from audit.evidence.check import Check, CheckResult, Snapshot, Support, Table, judged, not_evaluated
from audit.evidence.checks.keys import present_keys
from audit.evidence.facts import KeyStoreFacts
from audit.evidence.framework import Framework

#: RFC 9106 section 4, second recommended option: the least we take for a passphrase seal.
_MIN_MEMORY_KIB = 64 * 1024
_MIN_PASSES = 3
_KEK = "kek"
#: Printable ASCII characters a random passphrase can be made of.
_ALPHABET = 95
_COLUMNS = ("what", "value")


def _effective(store: KeyStoreFacts) -> tuple[str, int | None]:
    """Say how strong the seal is, and in bits where a number means something."""
    match store.seal:
        case "passphrase":
            length = store.passphrase_min_length or 0
            bits = int(length * math.log2(_ALPHABET))
            words = (
                f"a passphrase that a person chose: about {bits} bits if it has the {length} characters "
                "asked for and all were random, fewer in practice; Argon2id slows guessing but adds no secret"
            )
            return words, bits
        case "shares":
            words = f"{store.share_threshold} of {store.share_count} SLIP-39 shares of the full root key"
            return words, store.kek_bits
        case "pkcs11":
            return "a PKCS#11 token; the token's own certificate says how strong", None
        case "tpm2":
            words = "a TPM 2.0; without a PIN it opens for whoever has the machine: the key is with the data"
            return words, None
        case _:
            return "a seal this version does not know", None


def _seal_rows(snapshot: Snapshot, words: str) -> list[tuple[object, ...]]:
    store = snapshot.facts.key_store
    rows: list[tuple[object, ...]] = [
        ("seal", store.seal),
        ("effective strength", words),
        ("root key", store.kek_bits),
    ]
    if store.argon2 is not None:
        cost = f"{store.argon2.memory_kib} KiB, {store.argon2.passes} passes, {store.argon2.lanes} lanes"
        rows.append(("Argon2id (RFC 9106)", cost))
    return rows


def _seal_strength(snapshot: Snapshot) -> CheckResult:
    store = snapshot.facts.key_store
    words, bits = _effective(store)
    strongest = max((k.bits or 0 for k in present_keys(snapshot) if k.purpose != _KEK), default=0)
    query = "the seal of the root key, and the longest key under it"
    table = Table.of(_COLUMNS, [*_seal_rows(snapshot, words), ("longest key under it (bits)", strongest)])
    if bits is None or store.kek_bits is None:
        return not_evaluated(f"The seal is {words}.", unit="seals", query=query, table=table)
    slow = store.argon2 is None or (
        store.argon2.memory_kib >= _MIN_MEMORY_KIB and store.argon2.passes >= _MIN_PASSES
    )
    weak = store.kek_bits < strongest or bits < strongest or not slow
    return judged(
        population=1,
        violations=int(weak),
        unit="seals",
        query=query,
        holds=f"The root key and its seal are at least as strong as every key under them: {words}.",
        fails=(
            f"The root key has {store.kek_bits} bits, but its seal is weaker than the keys under it: {words}."
        ),
        empty="",
        table=table,
    )


def _split_knowledge(snapshot: Snapshot) -> CheckResult:
    store = snapshot.facts.key_store
    query = "kind of the seal; shares needed and made"
    words, _ = _effective(store)
    rows = [
        ("seal", store.seal),
        ("shares needed", store.share_threshold),
        ("shares made", store.share_count),
    ]
    split = store.seal == "shares" and (store.share_threshold or 0) >= 2
    if store.seal in {"pkcs11", "tpm2"}:
        return not_evaluated(
            f"The root key is not handled in clear text by people: {words}. That needs a record of its "
            "set-up.",
            unit="seals",
            query=query,
            table=Table.of(_COLUMNS, rows),
        )
    return judged(
        population=1,
        violations=int(not split),
        unit="seals",
        query=query,
        holds=f"The root key opens only with {store.share_threshold} of {store.share_count} shares.",
        fails=(
            "One passphrase opens the root key, so one person knows all of it: no split knowledge, no dual "
            "control."
        ),
        empty="",
        table=Table.of(_COLUMNS, rows),
    )


CHECKS = (
    Check(
        id="seal.strength",
        version=1,
        title="The root key and its seal are at least as strong as the keys under them",
        supports={Framework.PCI: (Support("3.6.1"),)},
        evaluate=_seal_strength,
    ),
    Check(
        id="seal.split_knowledge",
        version=1,
        title="No one person can open the root key",
        supports={
            Framework.PCI: (
                Support("3.7.6", "that distinct custodians hold the shares and two acted is not joined yet"),
            ),
        },
        evaluate=_split_knowledge,
    ),
)
