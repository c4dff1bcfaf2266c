"""A witness against logs and clients that lie: every way to make it vouch for two histories is refused.

It must hold whatever the client sends, however many ask at once, and wherever the witness is killed.
"""

import base64
import multiprocessing
import os
import signal
import struct
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.errors import LogUnavailable, NoteInvalid, TargetExists
from audit.log.checkpoint import Checkpoint
from audit.log.cosignature import CosignerKey, CosigningKey, posix_time
from audit.log.merkle import EMPTY_ROOT, TreeHead
from audit.log.note import Note, VerifierKey, parse_signature
from audit.log.proof_files import ConsistencyFile
from audit.log.signing_key import LogKey
from audit.witness.rules import (
    MAX_REQUEST_BYTES,
    Inconsistent,
    LogUnknown,
    Refused,
    RequestMalformed,
    RequestTooLarge,
    SignatureRefused,
    SizeConflict,
)
from audit.witness.store import MAX_CONTRADICTIONS, WitnessStore, digest_of
from tests.unit.witness.logs import NOW, ORIGIN, WITNESS, SmallLog, Watch, with_line

#: From C2SP tlog-cosignature and tlog-witness, as published.
SPEC_COSIGNED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE"
    "+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xU"
    "e+mbIUBkBIfZ+qnA==\n"
)
SPEC_REQUEST = (
    "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\njrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n"
    "5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\n"
)


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path)


def test_a_log_that_grows_is_cosigned_at_each_size(watch: Watch) -> None:
    old = 0
    for size in (1, 2, 7, 7, 256, 300):
        line = watch.ask(watch.log.request(old, size))
        signed = with_line(watch.log.checkpoint(size), line)
        assert CosignerKey.parse(watch.key.vkey).signed_at(signed) == NOW
        old = size
    assert watch.last_size() == 300


def test_a_cosignature_has_the_bytes_that_the_specification_says(watch: Watch) -> None:
    """Made again here from the text of tlog-cosignature, without our code."""
    line = watch.ask(watch.log.request(0, 5)).decode()
    text = watch.log.checkpoint(5).split(b"\n\n")[0] + b"\n"
    dash, name, encoded = line.removesuffix("\n").split(" ")
    raw = base64.b64decode(encoded)
    public = base64.b64decode(watch.key.vkey.split("+", 2)[2])
    assert (dash, name, public[0], len(public)) == ("\u2014", WITNESS, 4, 33)
    assert raw[:4] == sha256(WITNESS.encode() + b"\n\x04" + public[1:]).digest()[:4]
    (at,) = struct.unpack(">Q", raw[4:12])
    assert at == int(NOW.timestamp())
    signed = b"cosignature/v1\ntime " + str(at).encode() + b"\n" + text
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(raw[12:], signed)


def test_the_specifications_own_examples_are_read() -> None:
    note = Note.parse(SPEC_COSIGNED.encode())
    assert Checkpoint.parse(note.untrusted_text).head.size == 20852163
    assert note.signatures[1].key_id.hex() == "8d66cf3f"
    assert posix_time(note.signatures[1].signature) == 1679315147
    body = ConsistencyFile.parse(SPEC_REQUEST.encode() + SPEC_COSIGNED.encode())
    assert (body.old_size, len(body.path)) == (20852014, 4)


def test_a_fork_is_refused_and_kept_as_proof(watch: Watch) -> None:
    watch.ask(watch.log.request(0, 100))
    fork = SmallLog(watch.log_key, history="another ", fork_at=50)
    with pytest.raises(Inconsistent):
        watch.ask(fork.request(100, 200))
    (log,) = watch.store.logs()
    assert (log.size, log.contradictions) == (100, 1)
    watch.ask(watch.log.request(100, 200))  # the true history goes on


def test_two_roots_at_the_same_size_are_refused(watch: Watch) -> None:
    watch.ask(watch.log.request(0, 100))
    with pytest.raises(Inconsistent):
        watch.ask(SmallLog(watch.log_key, history="another ", fork_at=99).request(100, 100))


def test_a_rollback_is_refused_with_the_size_that_stands(watch: Watch) -> None:
    watch.ask(watch.log.request(0, 200))
    for request in (watch.log.request(0, 100), watch.log.request(100, 100), watch.log.request(100, 150)):
        with pytest.raises(SizeConflict) as refused:
            watch.ask(request)
        assert refused.value.size == 200
    assert watch.last_size() == 200


def test_an_old_request_sent_again_changes_nothing(watch: Watch) -> None:
    first = watch.log.request(0, 100)
    watch.ask(first)
    watch.ask(watch.log.request(100, 200))
    with pytest.raises(SizeConflict):
        watch.ask(first)
    assert watch.last_size() == 200


def test_a_client_cannot_skip_what_was_cosigned_by_saying_that_nothing_was(watch: Watch) -> None:
    watch.ask(watch.log.request(0, 10))
    with pytest.raises(SizeConflict):
        watch.ask(SmallLog(watch.log_key, history="another ").request(0, 300))


def test_a_proof_from_nothing_and_a_needless_proof_are_refused(watch: Watch) -> None:
    needless = ConsistencyFile(0, (EMPTY_ROOT,), watch.log.checkpoint(5))
    with pytest.raises(Inconsistent):
        watch.ask(bytes(needless))
    watch.ask(watch.log.request(0, 5))
    with pytest.raises(Inconsistent):
        watch.ask(bytes(ConsistencyFile(5, (), watch.log.checkpoint(9))))
    with pytest.raises(Inconsistent):
        watch.ask(bytes(ConsistencyFile(5, (EMPTY_ROOT,), watch.log.checkpoint(5))))


def test_an_empty_tree_with_the_root_of_another_is_refused(watch: Watch) -> None:
    note = Checkpoint(ORIGIN, TreeHead(0, b"\x01" * 32)).sign([watch.log_key])
    with pytest.raises(Inconsistent):
        watch.ask(bytes(ConsistencyFile(0, (), note)))
    watch.ask(watch.log.request(0, 0))
    assert watch.last_size() == 0


def test_a_log_that_says_itself_that_it_shrank_is_malformed(watch: Watch) -> None:
    watch.ask(watch.log.request(0, 9))
    with pytest.raises(RequestMalformed):
        watch.ask(bytes(ConsistencyFile(9, (), watch.log.checkpoint(5))))


def test_a_log_that_nobody_trusts_is_not_cosigned(watch: Watch, tmp_path: Path) -> None:
    assert watch.store.logs()
    other = LogKey.create(tmp_path / "other.key", "other.example/log")
    with pytest.raises(LogUnknown):
        watch.ask(SmallLog(other, origin="other.example/log").request(0, 5))


def test_a_log_of_the_trusted_name_with_another_key_is_not_cosigned(watch: Watch, tmp_path: Path) -> None:
    thief = LogKey.create(tmp_path / "thief.key", ORIGIN)
    with pytest.raises(SignatureRefused):
        watch.ask(SmallLog(thief).request(0, 5))
    assert watch.last_size() is None


def test_a_known_keys_signature_that_does_not_fit_is_refused_beside_a_good_one(watch: Watch) -> None:
    good, other = watch.log.checkpoint(5), watch.log.checkpoint(6)
    wrong = other.split(b"\n\n")[1]
    with pytest.raises(SignatureRefused):
        watch.ask(b"old 0\n\n" + good + wrong)


def test_signatures_of_unknown_keys_are_left_out_of_what_is_kept(watch: Watch, tmp_path: Path) -> None:
    epoch = LogKey.create(tmp_path / "epoch.key", f"{ORIGIN}/epoch/0")
    note = Checkpoint(ORIGIN, watch.log.head(5)).sign([watch.log_key, epoch])
    watch.ask(b"old 0\n\n" + note)
    kept = Note.parse(watch.store.checkpoint(digest_of(ORIGIN)))
    assert [each.name for each in kept.signatures] == [ORIGIN, WITNESS]
    kept.verify([VerifierKey.parse(watch.log_key.vkey), CosignerKey.parse(watch.key.vkey)])


def test_extension_lines_are_cosigned_as_they_are(watch: Watch) -> None:
    text = Checkpoint(ORIGIN, watch.log.head(5)).text() + b"an extension\n"
    note = bytes(Note.sign(text, [watch.log_key]))
    line = watch.ask(b"old 0\n\n" + note)
    CosignerKey.parse(watch.key.vkey).signed_at(with_line(note, line))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old\n\n",
        b"old 01\n\n{note}",
        b"old -1\n\n{note}",
        b"old 0\r\n\n{note}",
        b"old 0\nnot base64\n\n{note}",
        b"old 0\nAAAA\n\n{note}",
        b"old 0\n{note}",
        b"old 0\n\nno checkpoint\n\n\xe2\x80\x94 a b\n",
        b"old 0\n\n\xff\xfe{note}",
        b"old 0\n" + b"A" * 43 + b"=\n" * 1 + b"\n",
        b"old 0\n" + (b"A" * 43 + b"=\n") * 64 + b"\n{note}",
    ],
)
def test_a_request_out_of_shape_is_malformed_and_changes_nothing(watch: Watch, body: bytes) -> None:
    with pytest.raises(RequestMalformed) as refused:
        watch.ask(body.replace(b"{note}", watch.log.checkpoint(5)))
    assert refused.value.status == 400
    assert watch.last_size() is None


def test_a_request_longer_than_any_is_refused_unread(watch: Watch) -> None:
    with pytest.raises(RequestTooLarge):
        watch.ask(b"old 0\n\n" + b"x" * MAX_REQUEST_BYTES)


def test_each_refusal_has_the_status_that_the_specification_gives_it() -> None:
    expected = {
        RequestMalformed: 400,
        SignatureRefused: 403,
        LogUnknown: 404,
        SizeConflict: 409,
        RequestTooLarge: 413,
        Inconsistent: 422,
    }
    assert {each: each.status for each in Refused.__subclasses__()} == expected


def test_of_many_requests_at_once_that_contradict_each_other_one_history_is_cosigned(watch: Watch) -> None:
    watch.ask(watch.log.request(0, 10))
    logs = [SmallLog(watch.log_key, history=f"{each} ", fork_at=20) for each in range(12)]
    requests = [log.request(10, 60 + number) for number, log in enumerate(logs)]

    def ask(request: bytes) -> bool:
        try:
            watch.ask(request)
        except SizeConflict:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(ask, requests)) == 1


def test_contradictions_that_are_sent_without_end_do_not_fill_the_disk(watch: Watch) -> None:
    watch.ask(watch.log.request(0, 10))
    fork = SmallLog(watch.log_key, history="another ").request(10, 20)
    for _ in range(MAX_CONTRADICTIONS + 3):
        with pytest.raises(Inconsistent):
            watch.ask(fork)
    assert watch.store.logs()[0].contradictions == MAX_CONTRADICTIONS


def _cosign_all(folder: Path, requests: list[bytes], out: int) -> None:
    key, store = CosigningKey.load(folder / "witness.key"), WitnessStore(folder / "witness.db")
    for request in requests:
        os.write(out, store.cosign(request, key, NOW))


def test_a_witness_killed_at_any_moment_knows_every_tree_whose_cosignature_left_it(watch: Watch) -> None:
    requests = [watch.log.request(size, size + 1) for size in range(300)]
    assert watch.store.logs()
    assert watch.key.vkey
    read_end, write_end = os.pipe()
    child = multiprocessing.get_context("fork").Process(
        target=_cosign_all, args=(watch.folder, requests, write_end)
    )
    child.start()
    os.close(write_end)
    answers = os.read(read_end, 65536)
    while answers.count(b"\n") < 20:
        answers += os.read(read_end, 65536)
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    with os.fdopen(read_end, "rb") as rest:
        answers += rest.read()
    stored = watch.last_size()
    assert stored is not None
    assert stored >= answers.count(b"\n") >= 20
    watch.ask(watch.log.request(stored, 300))


def test_what_cannot_be_stored_is_not_cosigned(watch: Watch) -> None:
    watch.ask(watch.log.request(0, 10))
    (watch.folder / "witness.db").rename(watch.folder / "elsewhere.db")
    with pytest.raises(LogUnavailable):
        watch.ask(watch.log.request(10, 20))
    (watch.folder / "elsewhere.db").rename(watch.folder / "witness.db")
    assert watch.last_size() == 10


def test_a_witness_is_not_made_over_another(watch: Watch) -> None:
    watch.ask(watch.log.request(0, 10))
    with pytest.raises(TargetExists):
        WitnessStore.create(watch.folder / "witness.db")
    with pytest.raises(TargetExists, match="witness's key"):
        CosigningKey.create(watch.folder / "witness.key", WITNESS)
    assert watch.last_size() == 10


def test_a_cosignature_moved_to_another_tree_or_time_is_refused(watch: Watch) -> None:
    line = watch.ask(watch.log.request(0, 5))
    key = CosignerKey.parse(watch.key.vkey)
    with pytest.raises(NoteInvalid):
        key.signed_at(with_line(watch.log.checkpoint(6), line))
    signature = parse_signature(line.decode().rstrip("\n"))
    later = struct.pack(">Q", int((NOW + timedelta(days=1)).timestamp())) + signature.signature[8:]
    moved = str(type(signature)(signature.name, signature.key_id, later)).encode()
    with pytest.raises(NoteInvalid):
        key.signed_at(with_line(watch.log.checkpoint(5), moved))


def test_a_logs_key_is_not_taken_for_a_witnesss_nor_the_other_way_round(watch: Watch) -> None:
    with pytest.raises(NoteInvalid, match="not a witness's Ed25519 key"):
        CosignerKey.parse(watch.log_key.vkey)
    with pytest.raises(NoteInvalid, match="not an Ed25519 key that signs notes"):
        VerifierKey.parse(watch.key.vkey)
    assert CosigningKey.load(watch.folder / "witness.key").vkey == watch.key.vkey
