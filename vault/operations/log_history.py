"""What the log tells about itself and in sum: verifications, exports, how often policies decided.

Each is one access to the log. All of it is read from records, so that it is no second book beside them.
"""

from collections import Counter
from datetime import timedelta
from typing import Any

from audit.log.checkpoint import Checkpoint
from audit.log.note import VerifierKey
from audit.log.query import Filter
from audit.log.record import Kind, Record
from policies.vocabulary import Action
from vault.entities import LOG
from vault.gate import Access, Caller
from vault.site import Site

#: Records that "recently" means where decisions of a policy are counted.
RECENT_RECORDS = 1000
_HISTORY = 20


def verifications(site: Site, caller: Caller) -> dict[str, Any]:
    """Verifications and exports that were made, newest first, and the newest signed checkpoint."""

    def produce() -> dict[str, Any]:
        exports = [_export(site, record) for record in _outcomes(site, Action.LOG_EXPORT)]
        return {
            "items": [_verification(site, record) for record in _outcomes(site, Action.LOG_VERIFY)],
            "next": None,
            "exports": [export for export in exports if export is not None],
            "checkpoint": latest_checkpoint(site),
            "origin": site.reader.origin,
            "vkey": site.reader.vkey,
        }

    return site.gate.read(Access(caller, Action.LOG_LIST, LOG), produce, view="verifications")


def decisions_of_policies(site: Site, caller: Caller) -> dict[str, int]:
    """How many of the newest records each policy decided, alone or with others."""

    def produce() -> dict[str, int]:
        page = site.reader.search(Filter(), limit=RECENT_RECORDS)
        return dict(Counter(name for record in page.items for name in record.policies))

    return site.gate.read(Access(caller, Action.LOG_LIST, LOG), produce, view="policies")


def latest_checkpoint(site: Site) -> dict[str, Any] | None:
    """The newest signed head of the log: what somebody should note down elsewhere."""
    note = site.reader.latest_checkpoint()
    if note is None:
        return None
    signed = Checkpoint.verify(note, [VerifierKey.parse(site.reader.vkey)])
    last = site.reader.by_seq(signed.head.size - 1) if signed.head.size else None
    return {
        "note": note.decode(),
        "size": signed.head.size,
        "root": signed.head.root.hex(),
        "last_record_at": last.at if last else None,
    }


def _outcomes(site: Site, action: Action) -> list[Record]:
    wanted = Filter(kinds=(Kind.OUTCOME,), action=action)
    return site.reader.search(wanted, limit=_HISTORY).items


def _verification(site: Site, outcome: Record) -> dict[str, Any]:
    code, facts = _result(outcome)
    begun = site.reader.by_id(str(outcome.intent))
    return {
        "seq": outcome.seq,
        "at": outcome.at,
        "principal": outcome.principal,
        "code": code,
        "holds": facts.get("holds"),
        "records": facts.get("records"),
        "checks": facts.get("checks", {}),
        "took_s": round((outcome.time() - begun.time()) / timedelta(seconds=1), 1),
    }


def _export(site: Site, outcome: Record) -> dict[str, Any] | None:
    _, facts = _result(outcome)
    if "export" not in facts:
        return None
    path = site.settings.data_dir / "exports" / f"log-{facts['export']}.tar"
    return {
        "id": facts["export"],
        "seq": outcome.seq,
        "at": outcome.at,
        "principal": outcome.principal,
        "records": facts.get("records"),
        "sha256": facts.get("sha256"),
        "size_bytes": path.stat().st_size if path.is_file() else None,
    }


def _result(record: Record) -> tuple[str, dict[str, Any]]:
    result: Any = record.result or {}
    return str(result.get("code", "")), dict(result.get("facts", {}))
