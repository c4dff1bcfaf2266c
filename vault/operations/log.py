"""See, verify, sign and export the log. Looking at the log is an access too, and is in it."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from audit.errors import RecordNotFound
from audit.log.checkpoint import Checkpoint
from audit.log.epochs import Epoch
from audit.log.export import export_log as write_export
from audit.log.note import VerifierKey
from audit.log.query import Filter
from audit.log.record import Kind, Record
from audit.log.tiles import export_tiles as write_tiles
from policies.vocabulary import Action
from vault.child_process import run_child
from vault.entities import LOG
from vault.errors import BadInput, IntegrityFailure, NotFound
from vault.gate import Access, Caller
from vault.jobs import Progress, tell_counts
from vault.model import new_id
from vault.operations.policy import policy_text
from vault.permit import Permit
from vault.site import Site

_INTEGRITY_EXIT = 7
_NEIGHBOURS = 3
#: An export waits this long for the quorum of witnesses, and a checkpoint, which a person waits for, this long.
_WITNESSES_S = 15.0
_WITNESSES_OF_CHECKPOINT_S = 5.0
#: Records that one picture of activity is drawn from, at most, so that a long log answers as fast as a short one.
MOST_COUNTED = 100_000


def list_records(
    site: Site,
    caller: Caller,
    filters: dict[str, Any],
    limit: int = 50,
    token: str | None = None,
    view: str | None = None,
    *,
    with_activity: bool = False,
) -> dict[str, Any]:
    """Records, newest first.

    Args:
        filters: any of since, until (RFC 3339 or aware datetimes), kind, principal, action, resource,
        decision.
        token: `next` of the page before.
        with_activity: also count what fits, hour by hour and by decision (`activity`).

    Raises:
        BadInput: a filter cannot be read.
    """
    wanted = _filter(filters)

    def produce() -> dict[str, Any]:
        page = site.reader.search(wanted, limit=limit, token=token)
        found: dict[str, Any] = {"items": [record.document() for record in page.items], "next": page.next}
        return found | {"activity": _activity(site, wanted)} if with_activity else found

    return site.gate.read(Access(caller, Action.LOG_LIST, LOG), produce, view=view)


def show_record(site: Site, caller: Caller, seq_or_id: str) -> dict[str, Any]:
    """One record with what explains it: the deciding policies, what they were given, the outcome, neighbours.

    With its place in the chain: its hash, its canonical bytes as they were hashed, the first checkpoint over it.
    """

    def produce() -> dict[str, Any]:
        record = find_record(site, seq_or_id)
        return record.document() | {
            "leaf_hash": record.leaf_hash.hex(),
            "canonical": record.bytes.decode(),
            "checkpoint": _covering_checkpoint(site, record),
            "policies_text": _policies_text(site, record),
            "inputs_document": _inputs(site, record),
            "outcome": _outcome(site, record),
            "neighbours": _neighbours(site, record),
        }

    return site.gate.read(Access(caller, Action.LOG_SHOW, LOG), produce)


def find_record(site: Site, seq_or_id: str) -> Record:
    """The record with this number or id; call it inside the gate.

    Raises:
        RecordNotFound: there is none.
    """
    if seq_or_id.isascii() and seq_or_id.isdigit() and len(seq_or_id) < 16:
        return site.reader.by_seq(int(seq_or_id))
    return site.reader.by_id(seq_or_id)


def verify_log(site: Site, caller: Caller, progress: Progress) -> dict[str, Any]:
    """Verify the whole log where it lies, in a child process.

    Raises:
        IntegrityFailure: it does not hold; a finding is opened.
    """

    def act(permit: Permit) -> dict[str, Any]:
        progress(1, "Signing the log's head.")
        site.log.checkpoint()
        exit_code, report = run_child(
            "audit.verify", [str(site.settings.log_db), "--store", "--json"], progress
        )
        permit.note(
            holds=exit_code == 0,
            records=report.get("records", 0),
            checks={str(check["name"]): bool(check["holds"]) for check in report.get("checks", [])},
        )
        if exit_code == _INTEGRITY_EXIT:
            failed = [check for check in report.get("checks", []) if not check["holds"]]
            sentence = failed[0]["detail"] if failed else "The log does not verify."
            site.findings.open(
                "log.verification_failed",
                resource=str(LOG),
                sentence=sentence,
                record=permit.intent,
            )
            raise IntegrityFailure(f"The log does not verify: {sentence}", "See the findings.")
        site.findings.close("log.verification_failed", str(LOG))
        return dict(report)

    return site.gate.run(Access(caller, Action.LOG_VERIFY, LOG), act)


def checkpoint(site: Site, caller: Caller) -> dict[str, Any]:
    """Sign the log's present head and give it out: keep it elsewhere, and a rewritten log is found out."""

    def act(permit: Permit) -> dict[str, Any]:
        note = site.log.checkpoint()
        signed = Checkpoint.verify(note, [VerifierKey.parse(site.reader.vkey)])
        witnessed = site.witnesses.wait(signed.head.size, _WITNESSES_OF_CHECKPOINT_S)
        if witnessed is not None:
            note = site.reader.checkpoint_of(witnessed) or note
            signed = Checkpoint.verify(note, [VerifierKey.parse(site.reader.vkey)])
        permit.note(size=signed.head.size)
        return {
            "note": note.decode(),
            "origin": signed.origin,
            "size": signed.head.size,
            "root": signed.head.root.hex(),
            "vkey": site.reader.vkey,
            "epoch_vkey": _first_epoch_vkey(site),
            "witness_vkeys": site.witnesses.keys,
            "quorum": site.witnesses.quorum,
        }

    return site.gate.run(Access(caller, Action.LOG_CHECKPOINT, LOG), act)


def _first_epoch_vkey(site: Site) -> str | None:
    """The key from which a verifier follows all epochs; None in a log from before there were any."""
    first = next(site.reader.epoch_records(site.reader.size()), None)
    return None if first is None else str(Epoch.read(first).key)


def export_log(site: Site, caller: Caller, progress: Progress, *, tiles: bool = False) -> dict[str, Any]:
    """Write an export of the log as a tar on the server; `export_file` gives it out.

    Args:
        tiles: lay it out as C2SP tlog-tiles, for other people's log readers, instead of as our export.
    """

    def act(permit: Permit) -> dict[str, Any]:
        progress(5, "Signing the log's head.")
        export_id = new_id()
        target = site.settings.data_dir / "exports" / f"log-{export_id}.tar"
        signed = Checkpoint.verify(site.log.checkpoint(), [VerifierKey.parse(site.reader.vkey)]).head
        size = signed.size
        if site.witnesses.quorum:
            progress(7, "Waiting for the witnesses.")
            size = site.witnesses.wait(size, _WITNESSES_S) or size
        write = write_tiles if tiles else write_export
        made = write(
            site.settings.log_db,
            target,
            as_tar=True,
            progress=lambda done, of: tell_counts(
                progress, 10 + done * 80 // max(of, 1), "Writing the records.", done, of
            ),
            size=size,
        )
        with target.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        permit.note(export=export_id, records=made.head.size, sha256=digest)
        return exported(site, permit.facts)

    return site.gate.run(Access(caller, Action.LOG_EXPORT, LOG), act)


def exported(site: Site, facts: Mapping[str, Any]) -> dict[str, Any]:
    """An export as people and programs see it, from what its outcome says.

    Raises:
        NotFound: it has been removed.
    """
    target = site.settings.data_dir / "exports" / f"log-{facts['export']}.tar"
    if not target.is_file():
        raise NotFound("There is no such export.", "Make one with `strongroom audit export`.")
    return {
        "id": facts["export"],
        "records": facts["records"],
        "sha256": facts["sha256"],
        "size_bytes": target.stat().st_size,
    }


def export_file(site: Site, caller: Caller, export_id: str) -> Path:
    """The tar of an export.

    Raises:
        NotFound: there is none with this id.
    """

    def produce() -> Path:
        known = {
            path.stem.removeprefix("log-"): path
            for path in (site.settings.data_dir / "exports").glob("log-*.tar")
        }
        if export_id not in known:
            raise NotFound("There is no such export.", "Make one with `strongroom audit export`.")
        return known[export_id]

    return site.gate.read(Access(caller, Action.LOG_EXPORT, LOG), produce)


def _filter(filters: dict[str, Any]) -> Filter:
    """Read the filters of a list of records, as people and programs write them.

    Raises:
        BadInput: one of them cannot be read.
    """
    unknown = set(filters) - {"since", "until", "kind", "principal", "action", "resource", "decision"}
    if unknown:
        raise BadInput(f"The log cannot be filtered by {min(unknown)!r}.")
    kind = filters.get("kind")
    if kind is not None and kind not in set(Kind):
        raise BadInput(f"There is no kind of record {kind!r}.", f"Kinds: {', '.join(Kind)}.")
    return Filter(
        since=_instant(filters.get("since")),
        until=_instant(filters.get("until")),
        kinds=() if kind is None else (Kind(kind),),
        principal=filters.get("principal"),
        action=filters.get("action"),
        resource=filters.get("resource"),
        decision=filters.get("decision"),
    )


def _instant(value: str | datetime | None) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise BadInput(f"{value!r} is not a time.", "Write it as 2026-11-23T14:00:00Z.") from error
    if found.tzinfo is None:
        raise BadInput(f"The time {value!r} has no zone.", "Write it in UTC, as 2026-11-23T14:00:00Z.")
    return found


def _activity(site: Site, wanted: Filter) -> dict[str, Any]:
    counted = site.reader.count_by_hour(wanted, MOST_COUNTED)
    total = sum(count.records for count in counted)
    return {
        "items": [
            {"hour": count.hour, "decision": count.decision, "records": count.records} for count in counted
        ],
        "records": total,
        "whole": total < MOST_COUNTED,
    }


def _inputs(site: Site, record: Record) -> object:
    inputs = site.reader.inputs_of(record)
    return None if inputs is None else json.loads(inputs)


def _policies_text(site: Site, record: Record) -> dict[str, str]:
    """The texts of the policies that decided, as they were then: from the bundle that the record names."""
    files = {} if record.bundle is None else site.reader.bundle(record.bundle)
    return {name: policy_text(files, name) for name in record.policies}


def _covering_checkpoint(site: Site, record: Record) -> dict[str, object] | None:
    note = site.reader.checkpoint_over(record.seq)
    if note is None:
        return None
    signed = Checkpoint.verify(note, [VerifierKey.parse(site.reader.vkey)])
    return {"size": signed.head.size, "root": signed.head.root.hex(), "note": note.decode()}


def _outcome(site: Site, record: Record) -> dict[str, object] | None:
    closing = site.reader.outcome_of(record)
    return None if closing is None else closing.document()


def _neighbours(site: Site, record: Record) -> list[dict[str, object]]:
    found = []
    for seq in range(max(0, record.seq - _NEIGHBOURS), record.seq + _NEIGHBOURS + 1):
        if seq == record.seq:
            continue
        try:
            near = site.reader.by_seq(seq)
        except RecordNotFound:
            break
        found.append(
            {"seq": near.seq, "id": near.id, "kind": str(near.kind), "action": near.action, "at": near.at}
        )
    return found
