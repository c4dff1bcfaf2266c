"""What a verification believes beforehand: `trust.json`, got once and by another way than the export.

Everything it states must be present: a protection that is asked for and absent is a failure, not a pass
(FACTS.md, Log: systemd verifies an unsealed journal as PASS).
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from audit.errors import NoteInvalid, TrustInvalid
from audit.log.cosignature import CosignerKey
from audit.log.note import VerifierKey

_KNOWN = {
    "origin",
    "log_vkey",
    "epoch_vkey",
    "witness_vkeys",
    "quorum",
    "timestamp_roots",
    "report_certificates",
}
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")

_MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Trust:
    """What must be present.

    Attributes:
        origin: the log's identity.
        log_vkey: the log's verifier key.
        epoch_vkey: the key of one of the log's epochs, best the first; then both signatures are demanded, and the
            changes of keys from that epoch on cannot be made up by whoever steals later keys.
        witnesses: keys of the witnesses that count.
        quorum: how many of them must have cosigned the checkpoint.
        demands: further protections it asks for, in words. This version makes none of them, so they are absent.
        report_certificates: SHA-256 of certificates, of which one must be in the chain of a report's signer.
    """

    origin: str | None = None
    log_vkey: VerifierKey | None = None
    epoch_vkey: VerifierKey | None = None
    witnesses: tuple[CosignerKey, ...] = ()
    quorum: int = 0
    demands: tuple[str, ...] = ()
    report_certificates: frozenset[str] = frozenset()

    def with_report_certificate(self, untrusted: str) -> "Trust":
        """The same, and this certificate beside those it names for reports.

        Raises:
            TrustInvalid: it is no fingerprint.
        """
        both = self.report_certificates | {fingerprint(untrusted)}
        return replace(self, report_certificates=both)

    @classmethod
    def load(cls, path: Path) -> "Trust":
        """Read a trust file: a JSON object with some of the members that `_KNOWN` names.

        Raises:
            TrustInvalid: it cannot be read as one, states nothing, or something unknown.
        """
        try:
            with path.open("rb") as file:
                untrusted = json.loads(file.read(_MAX_FILE_BYTES))
        except OSError as error:
            raise TrustInvalid(f"The trust file cannot be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise TrustInvalid("The trust file is not JSON.") from error
        return cls.parse(untrusted)

    @classmethod
    def parse(cls, untrusted: object) -> "Trust":
        """Read the content of a trust file; as `load`."""
        if not isinstance(untrusted, dict) or not untrusted or not untrusted.keys() <= _KNOWN:
            raise TrustInvalid(
                "A trust file is a JSON object that states what must be present.",
                f"It may state: {', '.join(sorted(_KNOWN))}.",
            )
        origin = untrusted.get("origin")
        witnesses, quorum = untrusted.get("witness_vkeys", []), untrusted.get("quorum", 0)
        roots = untrusted.get("timestamp_roots", [])
        certificates = untrusted.get("report_certificates", [])
        if not (
            isinstance(origin, str | None)
            and isinstance(witnesses, list)
            and isinstance(roots, list)
            and isinstance(certificates, list)
            and type(quorum) is int
            and 0 <= quorum <= max(len(witnesses), 0)
        ):
            raise TrustInvalid("The trust file states something in a form it does not have.")
        key, epoch_key = _key("log_vkey", untrusted), _key("epoch_vkey", untrusted)
        counted = _witnesses(witnesses)
        # Named and not counted would be a protection that nobody checks.
        quorum = max(quorum, 1) if counted else 0
        demands = ("a timestamp",) if roots else ()
        named = frozenset(fingerprint(each) for each in certificates)
        return cls(origin, key, epoch_key, counted, quorum, demands, named)


def _key(name: str, untrusted: dict[str, object]) -> VerifierKey | None:
    written = untrusted.get(name)
    if written is None:
        return None
    try:
        if not isinstance(written, str):
            raise NoteInvalid("It is not text.")
        return VerifierKey.parse(written)
    except NoteInvalid as error:
        raise TrustInvalid(f"The trust file's {name} cannot be used: {error.message}") from error


def _witnesses(untrusted: list[object]) -> tuple[CosignerKey, ...]:
    keys: list[CosignerKey] = []
    for written in untrusted:
        try:
            if not isinstance(written, str):
                raise NoteInvalid("It is not text.")
            keys.append(CosignerKey.parse(written))
        except NoteInvalid as error:
            raise TrustInvalid(
                f"A key in the trust file's witness_vkeys cannot be used: {error.message}"
            ) from error
    # What is signed does not say whose cosignature it is, so one key under two names is one witness.
    if len({key.public for key in keys}) != len(keys):
        raise TrustInvalid("The trust file names a witness's key twice.", "Each counts once; take one out.")
    return tuple(keys)


def fingerprint(untrusted: object) -> str:
    """Read a certificate's SHA-256 as people write it: hex, with or without colons, in either case.

    Raises:
        TrustInvalid: it is none.
    """
    plain = str(untrusted).replace(":", "").replace(" ", "").lower()
    if not _FINGERPRINT.fullmatch(plain):
        raise TrustInvalid(
            f"{str(untrusted)[:80]!r} is not the SHA-256 of a certificate.",
            "It has 64 hex digits, as the page 'How to verify' of a report prints it.",
        )
    return plain
