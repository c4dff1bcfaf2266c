import pickle

import pytest

from vault.errors import KeyUnavailable
from vault.keystore.secret import DiskPassphrase, SecretBytes


def test_a_secret_is_not_in_its_repr_its_text_or_a_pickle() -> None:
    secret = SecretBytes(b"tell nobody")
    assert "nobody" not in f"{secret!r}{secret}"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


def test_a_wiped_secret_is_zeros_and_is_not_revealed() -> None:
    buffer = bytearray(b"tell nobody")
    secret = SecretBytes(buffer)
    assert secret.reveal() == b"tell nobody"
    secret.wipe()
    assert not any(buffer)
    with pytest.raises(KeyUnavailable, match="wiped"):
        secret.reveal()


def test_leaving_the_block_wipes_the_secret_also_when_it_fails() -> None:
    buffer = bytearray(b"tell nobody")
    with pytest.raises(ZeroDivisionError), SecretBytes(buffer):
        raise ZeroDivisionError
    assert not any(buffer)


@pytest.mark.parametrize(
    "text", [b"", b"with a newline\n", b"with space", "mit Umlaut \u00fc".encode(), b"nul\0", b"\x7f"]
)
def test_what_qemu_would_read_otherwise_is_no_disks_passphrase(text: bytes) -> None:
    buffer = bytearray(text)
    with pytest.raises(KeyUnavailable):
        DiskPassphrase(buffer)
    assert not any(buffer)


def test_a_disks_passphrase_of_printable_text_is_taken() -> None:
    assert DiskPassphrase(b"abc-_0").reveal() == b"abc-_0"
    assert len(DiskPassphrase(b"abc-_0")) == 6
