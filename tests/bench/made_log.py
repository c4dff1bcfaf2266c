"""Makes the export of a long log in seconds: real records, chained, signed, and whole for the verifier.

Four records made by the product's own code serve as forms; only numbers, ids and links differ from one to the next.
"""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from audit.log import canonical
from audit.log.checkpoint import Checkpoint
from audit.log.drafting import Prepared, Stamp, take_stamp
from audit.log.merkle import Frontier
from audit.log.record import NO_PREV, Draft, Kind
from audit.log.signing_key import LogKey
from policies.bundle import shipped
from vault.clock import HostClock

_LINES_PER_WRITE = 4096
_ACCOUNT = "account:5f1d6a52-1c1f-4c39-9c52-000000000001"
_GUEST = "guest:0b2c9f7e-8e27-4a53-8a3b-000000000002"
_SESSION = "9b0d7f0e-8e27-4a53-8a3b-000000000003"
_SOURCE = {"address": None, "channel": "cli"}
_INPUTS = b'{"context":{"channel":"cli"},"entities":[]}'
# Stand where the id, the intent, and the number come; no record holds these by itself.
_ID, _INTENT, _SEQ, _PREV = "a5" * 16, "5a" * 16, 7_777_777_777, "c3" * 32


class _Form(NamedTuple):
    """A record's text around what differs; `intent` tells whether it closes the record before it."""

    text: str
    closes: bool


def make_export(folder: Path, count: int) -> int:
    """Make the export of a log with so many records; returns the size of their bytes."""
    key = LogKey.create(folder.with_name(f"{folder.name}.key"), "strongroom.local/bench")
    folder.mkdir()
    bundle = shipped()
    policies = folder / "policies" / bundle.digest
    policies.mkdir(parents=True)
    for name, data in bundle.files.items():
        (policies / name).write_bytes(data)
    tree = Frontier()
    size_bytes = 0
    with (folder / "records.jsonl").open("wb") as file:
        for lines, leaves in _records(_forms(bundle.digest), count):
            tree.extend(leaves)
            size_bytes += file.write(b"\n".join(lines) + b"\n")
    (folder / "inputs.jsonl").write_bytes(_INPUTS + b"\n")
    (folder / "checkpoint").write_bytes(Checkpoint(key.name, tree.head()).sign([key]))
    (folder / "epochs.jsonl").write_bytes(b"")
    (folder / "log.vkey").write_bytes(f"{key.vkey}\n".encode())
    digests = {
        path.relative_to(folder).as_posix(): _digest(path) for path in folder.rglob("*") if path.is_file()
    }
    (folder / "manifest.json").write_bytes(canonical.encode({"files": digests, "v": 1}) + b"\n")
    return size_bytes - count


def _records(forms: list[_Form], count: int) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """The records' bytes and leaf hashes, some at a time."""
    prev = NO_PREV
    lines: list[bytes] = []
    leaves: list[bytes] = []
    for seq in range(count):
        form = forms[seq % len(forms)]
        values = (f"{seq:032x}", f"{seq - 1:032x}", prev, seq) if form.closes else (f"{seq:032x}", prev, seq)
        line = (form.text % values).encode()
        leaf = sha256(b"\x00" + line).digest()
        prev = leaf.hex()
        lines.append(line)
        leaves.append(leaf)
        if len(lines) == _LINES_PER_WRITE or seq == count - 1:
            yield lines, leaves
            lines, leaves = [], []


def _forms(bundle: str) -> list[_Form]:
    done = {"code": "ok", "facts": {"disk_bytes": 4096}}
    refused = {"code": "policy.denied", "facts": {}}
    start = Draft(
        kind=Kind.INTENT,
        principal=_ACCOUNT,
        action="guest.start",
        resource=_GUEST,
        decision="allow",
        policies=("base.operator-guests",),
        bundle=bundle,
        inputs=_INPUTS,
        source=_SOURCE,
        session=_SESSION,
        id=_ID,
    )
    end = replace(
        start,
        kind=Kind.OUTCOME,
        decision=None,
        policies=(),
        bundle=None,
        inputs=None,
        result=done,
        intent=_INTENT,
    )
    show = replace(start, kind=Kind.ACCESS, action="guest.show", result=done)
    refusal = replace(start, kind=Kind.DENIED, action="guest.delete", decision="deny", result=refused)
    stamp = take_stamp(HostClock())
    return [_form(draft, stamp) for draft in (start, end, show, refusal)]


def _form(draft: Draft, stamp: Stamp) -> _Form:
    text = Prepared(draft).place(_SEQ, _PREV, stamp).bytes.decode().replace("%", "%%")
    for mark, place in ((_ID, "%s"), (_INTENT, "%s"), (_PREV, "%s"), (str(_SEQ), "%d")):
        text = text.replace(mark, place)
    return _Form(text, closes=draft.intent is not None)


def _digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
