"""Evidence is measured: a listener's weakness shows, and nothing is claimed of what does not answer."""

import contextlib
import socket
import ssl
import subprocess
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from vault.evidence import ask_canary, measure_transport, measured_disk
from vault.model import Disk
from vault.tls import make_certificate


@contextlib.contextmanager
def listener(context: ssl.SSLContext | None, answer: bytes = b"") -> Iterator[int]:
    """Accept connections one after another; says `answer` after whatever was sent. Yields the port."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                plain, _ = server.accept()
            except TimeoutError:
                continue
            plain.settimeout(5)
            with contextlib.suppress(OSError), plain:
                if context is not None:
                    with context.wrap_socket(plain, server_side=True) as secured:
                        secured.recv(64)
                else:
                    plain.recv(64)
                    plain.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        stop.set()
        thread.join()
        server.close()


def server_context(folder: Path, least: ssl.TLSVersion) -> ssl.SSLContext:
    make_certificate(folder, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a weak server is what is to be found
        context.minimum_version = least
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


@pytest.mark.parametrize(
    ("least", "found"),
    [
        (ssl.TLSVersion.TLSv1, "TLSv1.0"),
        (ssl.TLSVersion.TLSv1_1, "TLSv1.1"),
        (ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        (ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
    ],
)
def test_the_weakest_version_that_a_listener_takes_is_found(
    tmp_path: Path, least: ssl.TLSVersion, found: str
) -> None:
    with listener(server_context(tmp_path, least)) as port:
        measured = measure_transport("127.0.0.1", port)
    assert measured.min_version == found
    assert measured.plaintext_listeners == ()
    assert measured.cipher is not None
    assert measured.certificate_sha256 is not None
    assert len(measured.certificate_sha256) == 64


def test_nothing_is_claimed_of_a_listener_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    measured = measure_transport("127.0.0.1", port)
    assert measured.min_version is None
    assert measured.plaintext_listeners is None
    assert measured.certificate_sha256 is None


def test_a_listener_without_tls_has_no_version() -> None:
    with listener(None, b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert measure_transport("127.0.0.1", port).min_version is None


class BothAtOnce(ssl.SSLContext):
    """A listener that speaks TLS to those who begin it, and HTTP to everybody else."""

    answer = b""

    def wrap_socket(self, sock: socket.socket, *_args: object, **_kwargs: object) -> ssl.SSLSocket:
        if sock.recv(1, socket.MSG_PEEK) != b"\x16":
            sock.recv(64)
            sock.sendall(self.answer)
            raise OSError("answered plainly")
        return super().wrap_socket(sock, server_side=True)


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 302 Found\r\n\r\n", True),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"\x15\x03\x01\x00\x02\x02\x46", False),
    ],
)
def test_a_listener_that_also_answers_without_tls_is_found(
    tmp_path: Path, answer: bytes, *, plain: bool
) -> None:
    make_certificate(tmp_path, "localhost")
    context = BothAtOnce(ssl.PROTOCOL_TLS_SERVER)
    context.answer = answer
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    with listener(context) as port:
        measured = measure_transport("127.0.0.1", port)
    assert measured.min_version == "TLSv1.2"
    assert measured.plaintext_listeners == ((f"127.0.0.1:{port}",) if plain else ())


def test_an_empty_policy_set_denies_every_request_of_the_canary() -> None:
    answers = ask_canary()
    assert len(answers) == 7
    assert {answer.decision for answer in answers} == {"deny"}


def test_a_disk_that_cannot_be_measured_counts_as_not_encrypted_and_says_why(tmp_path: Path) -> None:
    row = Disk(guest_id="g", role="root", path=str(tmp_path / "gone.qcow2"), size_bytes=5, key_id="k")
    facts = measured_disk(row)
    assert not facts.encrypted
    assert facts.error


def test_a_plain_disk_in_the_place_of_an_encrypted_one_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "root.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], check=True)
    row = Disk(guest_id="g", role="root", path=str(path), size_bytes=5, key_id="k", known_keyslots=[0])
    facts = measured_disk(row)
    assert not facts.encrypted
    assert facts.size_bytes == 1 << 20
    assert facts.known_keyslots == (0,)
    assert facts.device is not None
