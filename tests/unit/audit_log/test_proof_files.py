"""A proof file, changed anywhere, is refused; one that was not, needs nothing but the trusted key."""

import base64
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import ProofInvalid, TrustInvalid, VerificationFailed
from audit.log.epochs import Epoch
from audit.log.merkle import leaf_hash
from audit.log.note import Note
from audit.log.proof_files import ConsistencyFile, InclusionFile
from audit.log.proofs import StoredTree
from audit.log.query import LogQuery
from audit.log.signing_key import LogKey
from audit.verify import Trust, verify_proof
from tests.unit.audit_log.parts import LogHome, ordinary_history, write

RECORDS = 300
INDEX = 77
OLD = 130


@cache
def made() -> tuple[InclusionFile, ConsistencyFile, bytes, Trust]:
    """A record's proof, a proof of growth, the checkpoint it starts from, and the trust file."""
    with TemporaryDirectory() as folder:
        home = LogHome.create(Path(folder) / "log")
        writer = home.open(checkpoint_after_s=3600)
        groups = list(ordinary_history(RECORDS))
        write(writer, groups[:OLD])
        early = writer.checkpoint()
        write(writer, groups[OLD:])
        late = writer.checkpoint()
        writer.close()
        with LogQuery(home.path) as log:
            tree = StoredTree(RECORDS, log.hashes)
            record = log.by_seq(INDEX).bytes
            inclusion = InclusionFile(INDEX, tuple(tree.inclusion(INDEX)), late, record)
            growth = ConsistencyFile(OLD, tuple(tree.consistency(OLD)), late)
        vkey = home.key.vkey
        return inclusion, growth, early, Trust.parse({"origin": home.origin, "log_vkey": vkey})


def refused(untrusted: bytes, noted: bytes | None = None) -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        verify_proof(untrusted, made()[3], noted)
    assert caught.value.exit_code == 7
    return caught.value


def test_both_proofs_hold() -> None:
    inclusion, growth, early, trust = made()
    report = verify_proof(bytes(inclusion), trust)
    assert (report.kind, report.records, report.holds) == ("proof", 1, True)
    assert verify_proof(bytes(growth), trust, early).kind == "consistency-proof"
    assert verify_proof(early, trust).checkpoint is not None


def test_a_file_reads_back_as_it_was_written() -> None:
    inclusion, growth, _, _ = made()
    assert InclusionFile.parse(bytes(inclusion)) == inclusion
    assert ConsistencyFile.parse(bytes(growth)) == growth
    alone = InclusionFile(0, (), inclusion.note, None)
    assert InclusionFile.parse(bytes(alone)) == alone


@given(st.data())
def test_every_changed_byte_of_a_proof_is_refused(data: st.DataObject) -> None:
    whole = bytes(made()[0])
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    refused(whole[:place] + bytes([byte]) + whole[place + 1 :])


@given(st.data())
def test_every_changed_byte_of_a_proof_of_growth_is_refused(data: st.DataObject) -> None:
    _, growth, early, _ = made()
    whole = bytes(growth)
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    refused(whole[:place] + bytes([byte]) + whole[place + 1 :], early)


@given(st.data())
def test_every_cut_proof_is_refused(data: st.DataObject) -> None:
    whole = bytes(made()[0])
    refused(whole[: data.draw(st.integers(1, len(whole) - 1))])


def lines_changed() -> Iterator[bytes]:
    """The lines of a proof left out, doubled, and exchanged with the next, in front of the checkpoint."""
    head, _, note = bytes(made()[0]).partition(b"\n\n")
    lines = head.split(b"\n")
    for place in range(len(lines)):
        for changed in (
            [*lines[:place], *lines[place + 1 :]],
            [*lines[: place + 1], *lines[place:]],
            [*lines[:place], *lines[place : place + 2][::-1], *lines[place + 2 :]],
        ):
            if changed != lines:
                yield b"\n".join(changed) + b"\n\n" + note


def test_every_line_left_out_doubled_or_exchanged_is_refused() -> None:
    changed = list(lines_changed())
    assert len(changed) > 20
    for untrusted in changed:
        refused(untrusted)


@pytest.mark.parametrize("index", [0, 76, 78, 299, 300, 10**18])
def test_another_index_is_refused(index: int) -> None:
    proof = made()[0]
    refused(bytes(InclusionFile(index, proof.path, proof.note, proof.record)))


def test_another_record_is_refused_and_named() -> None:
    proof = made()[0]
    assert proof.record is not None
    lie = proof.record.replace(b'"kind":"', b'"kind": "')
    assert refused(bytes(InclusionFile(INDEX, proof.path, proof.note, lie))).finding == "record.malformed"
    forged = proof.record.replace(b'"seq":77', b'"seq":78')
    assert refused(bytes(InclusionFile(INDEX, proof.path, proof.note, forged))).seq == INDEX


def test_a_proof_without_its_record_proves_nothing() -> None:
    proof = made()[0]
    assert refused(bytes(InclusionFile(INDEX, proof.path, proof.note, None))).finding == "proof.no_record"


def test_a_proof_under_another_key_of_the_same_name_is_refused(tmp_path: Path) -> None:
    proof, _, _, trust = made()
    assert trust.origin is not None
    stranger = LogKey.create(tmp_path / "key", trust.origin)
    text = Note.parse(proof.note).untrusted_text
    forged = bytes(Note.sign(text, [stranger]))
    refused(bytes(InclusionFile(INDEX, proof.path, forged, proof.record)))


def test_signatures_of_others_travel_along_and_harm_nothing(tmp_path: Path) -> None:
    proof, growth, early, trust = made()
    witness = LogKey.create(tmp_path / "key", "witness.example")
    text = Note.parse(proof.note).untrusted_text
    line = bytes(Note.sign(text, [witness])).rpartition(b"\n\n")[2]
    cosigned = InclusionFile(INDEX, proof.path, proof.note + line, proof.record)
    assert verify_proof(bytes(cosigned), trust).holds
    assert verify_proof(bytes(ConsistencyFile(OLD, growth.path, growth.note + line)), trust, early).holds


def test_a_checkpoint_that_was_not_the_start_of_the_proof_is_refused() -> None:
    _, growth, early, trust = made()
    assert verify_proof(bytes(growth), trust, early).holds
    refused(bytes(growth), growth.note)
    refused(bytes(growth), early.replace(b"\n130\n", b"\n131\n"))
    refused(bytes(growth), b"")


def test_nothing_is_believed_without_a_key() -> None:
    inclusion, growth, early, trust = made()
    for untrusted in (bytes(inclusion), bytes(growth), early):
        with pytest.raises(TrustInvalid, match="whose signature"):
            verify_proof(untrusted, Trust(origin=trust.origin), early)
    for untrusted in (bytes(inclusion), early):
        with pytest.raises(TrustInvalid, match="how the log grew"):
            verify_proof(untrusted, trust, early)
    with pytest.raises(TrustInvalid, match="older checkpoint"):
        verify_proof(bytes(growth), trust)


def test_another_log_of_the_same_key_is_refused() -> None:
    inclusion, _, early, trust = made()
    elsewhere = Trust("another.example/log", trust.log_vkey)
    for untrusted in (bytes(inclusion), early):
        with pytest.raises(VerificationFailed):
            verify_proof(untrusted, elsewhere)


@pytest.mark.parametrize(
    "untrusted",
    [
        b"c2sp.org/tlog-proof@v1",
        b"c2sp.org/tlog-proof@v2\nindex 0\n\n",
        b"c2sp.org/tlog-proof@v1\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 01\n\nnote",
        b"c2sp.org/tlog-proof@v1\nindex -1\n\nnote",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + b"A" * 44 + b"\n\nnote",
        b"c2sp.org/tlog-proof@v1\nextra !\nindex 0\n\nnote",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + (base64.b64encode(bytes(32)) + b"\n") * 65 + b"\nnote",
        b"c2sp.org/tlog-proof@v1\nindex \xc3\xa9\n\nnote",
    ],
)
def test_what_has_not_the_form_of_a_proof_is_refused_as_one(untrusted: bytes) -> None:
    with pytest.raises(ProofInvalid):
        InclusionFile.parse(untrusted)


def test_a_proof_with_a_checkpoint_at_ten_million_records_stays_below_2_kib() -> None:
    proof = made()[0]
    longest = tuple(leaf_hash(b"%d" % number) for number in range(24))
    note = proof.note.replace(b"\n300\n", b"\n10000000\n")
    assert len(bytes(InclusionFile(9_999_999, longest, note, None))) <= 2048
    assert len(bytes(ConsistencyFile(9_999_998, (*longest, longest[0]), note))) <= 2048


@cache
def made_with_epochs() -> tuple[InclusionFile, ConsistencyFile, bytes, list[bytes], Trust]:
    """As `made`, of a log whose keys evolve: with the records that change them, and a trust file that demands them."""
    with TemporaryDirectory() as folder:
        home = LogHome.create(Path(folder) / "log")
        early = b""
        for run in range(3):
            writer = home.open(epochs=True, checkpoint_after_s=3600)
            write(writer, ordinary_history(0 if run else 20))
            early = early or writer.checkpoint()
            writer.close()
        with LogQuery(home.path) as log:
            size = log.size()
            note = log.latest_checkpoint() or b""
            changes = list(log.epoch_records(size))
            tree = StoredTree(size, log.hashes)
            record = log.by_seq(5).bytes
            inclusion = InclusionFile(5, tuple(tree.inclusion(5)), note, record)
            old = int(early.split(b"\n")[1])
            growth = ConsistencyFile(old, tuple(tree.consistency(old)), note)
        first = str(Epoch.read(changes[0]).key)
        trust = Trust.parse({"origin": home.origin, "log_vkey": home.key.vkey, "epoch_vkey": first})
        return inclusion, growth, early, changes, trust


def test_a_proof_holds_with_both_signatures_where_the_keys_evolve() -> None:
    inclusion, growth, early, changes, trust = made_with_epochs()
    assert len(changes) == 3
    epochs = b"".join(line + b"\n" for line in changes)
    assert verify_proof(bytes(inclusion), trust, epochs=epochs).holds
    assert verify_proof(bytes(growth), trust, early, epochs).holds
    # Whoever trusts the log's key alone need not know of epochs.
    assert verify_proof(bytes(inclusion), Trust(trust.origin, trust.log_vkey)).holds


def _without_the_epochs_signature(note: bytes) -> bytes:
    return b"".join(line for line in note.splitlines(keepends=True) if b"/epoch/" not in line)


def test_a_proof_without_the_signature_of_its_epoch_is_refused() -> None:
    inclusion, growth, early, changes, trust = made_with_epochs()
    epochs = b"".join(line + b"\n" for line in changes)
    stripped = _without_the_epochs_signature(inclusion.note)
    assert stripped != inclusion.note
    for untrusted, noted in (
        (bytes(InclusionFile(5, inclusion.path, stripped, inclusion.record)), None),
        (bytes(ConsistencyFile(growth.old_size, growth.path, stripped)), early),
        (bytes(growth), _without_the_epochs_signature(early)),
    ):
        with pytest.raises(VerificationFailed):
            verify_proof(untrusted, trust, noted, epochs)


@pytest.mark.parametrize("epochs", [None, b"", b"not a record\n"])
def test_demanded_epochs_that_are_absent_are_not_a_pass(epochs: bytes | None) -> None:
    inclusion, _, _, _, trust = made_with_epochs()
    with pytest.raises(VerificationFailed) as caught:
        verify_proof(bytes(inclusion), trust, epochs=epochs)
    assert "epoch" in caught.value.finding


def test_changes_of_keys_that_stop_before_the_checkpoint_or_begin_elsewhere_are_refused() -> None:
    inclusion, _, _, changes, trust = made_with_epochs()
    for epochs in (changes[0], changes[1], changes[0] + b"\n" + changes[2]):
        with pytest.raises(VerificationFailed):
            verify_proof(bytes(inclusion), trust, epochs=epochs + b"\n")
