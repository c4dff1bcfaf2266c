import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import NoteInvalid
from audit.log.checkpoint import Checkpoint
from audit.log.merkle import TreeHead, leaf_hash
from audit.log.note import MAX_NOTE_BYTES, MAX_SIGNATURES, Note, VerifierKey
from audit.log.signing_key import LogKey

# The example in the documentation of golang.org/x/mod/sumdb/note: made by another implementation.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_NOTE = (
    GO_TEXT
    + "\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyB"
    "wJnAM=\n".encode()
)

KEY = LogKey("strongroom.example/log", Ed25519PrivateKey.from_private_bytes(b"\x07" * 32))
OTHER = LogKey("other.example/log", Ed25519PrivateKey.from_private_bytes(b"\x08" * 32))
VERIFIER = VerifierKey.parse(KEY.vkey)
CHECKPOINT = Checkpoint("strongroom.example/log", TreeHead(17, leaf_hash(b"root")))


def test_a_note_signed_by_gos_implementation_verifies() -> None:
    key = VerifierKey.parse(GO_KEY)
    assert str(key) == GO_KEY
    assert Note.parse(GO_NOTE).verify([key]) == GO_TEXT
    assert bytes(Note.parse(GO_NOTE)) == GO_NOTE


def test_a_checkpoint_has_the_form_of_c2sp_and_its_signature_verifies() -> None:
    note = CHECKPOINT.sign([KEY])
    text, _, signatures = note.partition(b"\n\n")
    origin, size, root = text.decode().split("\n")
    assert (origin, size, base64.b64decode(root)) == ("strongroom.example/log", "17", leaf_hash(b"root"))
    assert signatures.decode().startswith("\u2014 strongroom.example/log ")
    assert Checkpoint.verify(note, [VERIFIER]) == CHECKPOINT


def test_several_keys_sign_and_each_asked_for_must_have() -> None:
    note = CHECKPOINT.sign([OTHER, KEY])
    both = [VERIFIER, VerifierKey.parse(OTHER.vkey)]
    assert Checkpoint.verify(note, both) == CHECKPOINT
    assert Checkpoint.verify(note, [VERIFIER]) == CHECKPOINT  # the other signature is ignored
    with pytest.raises(NoteInvalid, match=r"other\.example/log is missing"):
        Checkpoint.verify(CHECKPOINT.sign([KEY]), both)


def test_nothing_is_believed_without_a_key() -> None:
    with pytest.raises(NoteInvalid, match="No trusted key"):
        Checkpoint.verify(CHECKPOINT.sign([KEY]), [])


def test_nothing_is_signed_without_a_signer() -> None:
    with pytest.raises(NoteInvalid):
        CHECKPOINT.sign([])


def test_another_keys_signature_under_the_same_name_is_not_the_logs() -> None:
    impostor = LogKey(KEY.name, Ed25519PrivateKey.generate())
    with pytest.raises(NoteInvalid, match="is missing"):
        Checkpoint.verify(CHECKPOINT.sign([impostor]), [VERIFIER])


def test_a_second_false_signature_of_the_log_spoils_the_note() -> None:
    note = Note.parse(CHECKPOINT.sign([KEY]))
    other_text = Note.parse(Checkpoint("strongroom.example/log", TreeHead(18, leaf_hash(b"x"))).sign([KEY]))
    spoiled = Note(note.untrusted_text, (*note.signatures, *other_text.signatures))
    with pytest.raises(NoteInvalid, match="does not fit"):
        Checkpoint.verify(bytes(spoiled), [VERIFIER])


@given(st.data())
def test_every_changed_byte_of_a_signed_checkpoint_is_refused(data: st.DataObject) -> None:
    note = bytearray(CHECKPOINT.sign([KEY]))
    position = data.draw(st.integers(0, len(note) - 1))
    note[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(NoteInvalid):
        Checkpoint.verify(bytes(note), [VERIFIER])


def test_every_flipped_bit_of_a_signed_checkpoint_is_refused() -> None:
    note = CHECKPOINT.sign([KEY])
    for position in range(len(note)):
        for bit in range(8):
            changed = bytearray(note)
            changed[position] ^= 1 << bit
            with pytest.raises(NoteInvalid):
                Checkpoint.verify(bytes(changed), [VERIFIER])


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "origin\n1\n",
        f"origin\n01\n{ROOT}\n",
        f"origin\n-1\n{ROOT}\n",
        f"origin\n+1\n{ROOT}\n",
        f"origin\n\N{ARABIC-INDIC DIGIT ONE}\n{ROOT}\n",
        f"origin\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"origin\n1\n{ROOT}\nextension\n",
        f"origin\n1\n{ROOT[:-4]}\n",
        f"origin\n1\n{ROOT[:-2]}B=\n",
        "origin\n1\n!!!!\n",
        "origin\n1\nA\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(text.encode())


def test_the_empty_tree_has_size_zero() -> None:
    assert Checkpoint.parse(f"origin\n0\n{ROOT}\n".encode()).head.size == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GO_TEXT,
        GO_TEXT + b"\n",
        GO_NOTE[:-1],
        GO_NOTE.replace("\u2014".encode(), b"-"),
        GO_NOTE.replace(b"PeterNeumann ", b"Peter+Neumann "),
        GO_NOTE.replace(b"PeterNeumann ", b"PeterNeumann\xc2\xa0"),
        GO_NOTE.replace(b"PeterNeumann ", b" "),
        GO_NOTE.replace(b" x08go", b" "),
        GO_NOTE.replace(b"=\n", b"\n"),
        GO_NOTE.replace(b"If", b"I\rf"),
        GO_NOTE.replace(b"If", b"I\xfff"),
        GO_TEXT + "\n\u2014 a AAAA\n".encode(),
        GO_TEXT + b"\n" + "\u2014 a AAAAAAA=\n".encode() * (MAX_SIGNATURES + 1),
        b"x" * MAX_NOTE_BYTES + GO_NOTE,
    ],
)
def test_bytes_that_are_not_a_signed_note_are_refused(data: bytes) -> None:
    with pytest.raises(NoteInvalid):
        Note.parse(data)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+c74f20a3",
        GO_KEY.replace("c74f20a3", "c74f20a4"),
        GO_KEY.replace("c74f20a3", "C74F20A3"),
        GO_KEY.replace("Peter", "peter"),
        GO_KEY.replace("+AR", "+BR"),
        GO_KEY[:-4],
        GO_KEY + "\n",
        GO_KEY.replace("+ARpc", "+!Rpc"),
        "a b+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_a_verifier_key_that_was_mistyped_is_refused(vkey: str) -> None:
    with pytest.raises(NoteInvalid):
        VerifierKey.parse(vkey)


def test_a_public_key_that_is_no_point_of_the_curve_verifies_nothing() -> None:
    with pytest.raises(NoteInvalid):
        VerifierKey("a", b"\xff" * 32).verify(b"text", bytes(64))


def test_a_key_is_kept_in_a_file_only_its_owner_can_read(tmp_path: Path) -> None:
    key = LogKey.create(tmp_path / "log.key", "strongroom.example/log")
    assert (tmp_path / "log.key").stat().st_mode & 0o777 == 0o600
    loaded = LogKey.load(tmp_path / "log.key")
    assert loaded.vkey == key.vkey
    assert loaded.name == "strongroom.example/log"
    assert Checkpoint.verify(CHECKPOINT.sign([loaded]), [VerifierKey.parse(key.vkey)]) == CHECKPOINT


def test_the_key_does_not_show_in_what_is_printed(tmp_path: Path) -> None:
    key = LogKey.create(tmp_path / "log.key", "strongroom.example/log")
    secret = (tmp_path / "log.key").read_text().split("+", 4)[4].strip()
    assert secret not in repr(key)
    assert repr(key) == f"LogKey({key.vkey})"
