"""The daemon's certificate, verified as clients verify it: also strictly, as Python 3.13 does."""

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509

from vault.errors import BadInput
from vault.tls import make_certificate


def handshake(folder: Path, name: str, *, trust: Path | None = None) -> None:
    """A real handshake over a socket pair; raises what the client raises."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    client = ssl.create_default_context(cafile=str(trust or folder / "tls.crt"))
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as secured:
                secured.recv(1)
        except OSError:
            theirs.close()  # the client turned away, which is what it tells

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as secured:
            secured.sendall(b"x")
    finally:
        ours.close()
        thread.join()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_client_on_this_host_trusts_it_by_every_local_name(tmp_path: Path, name: str) -> None:
    make_certificate(tmp_path, "localhost")
    handshake(tmp_path, name)


@pytest.mark.parametrize("host", ["vault.example.org", "192.0.2.7", "127.0.0.2", "2001:db8::1"])
def test_the_host_it_was_made_for_is_in_it(tmp_path: Path, host: str) -> None:
    make_certificate(tmp_path, host)
    handshake(tmp_path, host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - not bound
def test_an_address_that_means_all_is_no_name(tmp_path: Path, host: str) -> None:
    make_certificate(tmp_path, host)
    handshake(tmp_path, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, host)


def test_another_name_and_another_site_are_refused(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        make_certificate(tmp_path / folder, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path / "one", "evil.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path / "one", "localhost", trust=tmp_path / "two/tls.crt")


def test_the_key_is_for_root_alone_and_is_never_overwritten(tmp_path: Path) -> None:
    make_certificate(tmp_path, "localhost")
    assert stat.S_IMODE((tmp_path / "tls.key").stat().st_mode) == 0o600
    before = (tmp_path / "tls.key").read_bytes()
    with pytest.raises(FileExistsError):
        make_certificate(tmp_path, "localhost")
    assert (tmp_path / "tls.key").read_bytes() == before


def test_it_lives_no_longer_than_browsers_accept(tmp_path: Path) -> None:
    make_certificate(tmp_path, "localhost")
    certificate = x509.load_pem_x509_certificate((tmp_path / "tls.crt").read_bytes())
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life.days <= 398


@pytest.mark.parametrize("host", ["", "klinik münchen", "a b", "x" * 300, "\x00"])
def test_a_host_that_no_certificate_can_name_is_refused_before_anything_is_written(
    tmp_path: Path, host: str
) -> None:
    with pytest.raises(BadInput):
        make_certificate(tmp_path, host)
    assert list(tmp_path.iterdir()) == []
