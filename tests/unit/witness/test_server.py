"""The witness as a process: what the specification says of its answers, and what a rude client cannot do to it."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.log.note import VerifierKey
from audit.log.proof_files import ConsistencyFile
from audit.log.signing_key import LogKey
from audit.witness.rules import MAX_REQUEST_BYTES
from audit.witness.store import digest_of
from tests.free_port import free_port
from tests.unit.witness.logs import ORIGIN, WITNESS, SmallLog, with_line
from tests.unit.witness.serving import STRONGROOM, Served, start
from web.witness.folder import WitnessFolder


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> SmallLog:
    return SmallLog(LogKey.create(tmp_path_factory.mktemp("log") / "log.key", ORIGIN))


@pytest.fixture
def folder(tmp_path: Path, log: SmallLog) -> WitnessFolder:
    folder = WitnessFolder.create(tmp_path / "witness", WITNESS, "localhost")
    folder.store.trust(VerifierKey.parse(log.key.vkey))
    return folder


@pytest.fixture
def witness(folder: WitnessFolder) -> Iterator[Served]:
    served = start(folder, "127.0.0.1", free_port())
    yield served
    served.stop()


def test_it_answers_as_the_specification_says(witness: Served, log: SmallLog) -> None:
    fork = SmallLog(log.key, history="another ", fork_at=5)
    with witness.client() as client:
        assert client.get(f"/{digest_of(ORIGIN)}/checkpoint").status_code == 404
        answer = client.post("/add-checkpoint", content=log.request(0, 10))
        assert answer.status_code == 200
        signed = with_line(log.checkpoint(10), answer.content)
        first = witness.key.signed_at(signed)
        kept = client.get(f"/{digest_of(ORIGIN)}/checkpoint")
        assert kept.content == bytes(signed)
        # Again at the same size: a fresh time.
        again = client.post("/add-checkpoint", content=log.request(10, 10))
        assert witness.key.signed_at(with_line(log.checkpoint(10), again.content)) >= first
        conflict = client.post("/add-checkpoint", content=log.request(0, 20))
        assert (conflict.status_code, conflict.text) == (409, "10\n")
        assert conflict.headers["Content-Type"] == "text/x.tlog.size"
        assert client.post("/add-checkpoint", content=fork.request(10, 20)).status_code == 422
        assert client.post("/add-checkpoint", content=b"nonsense").status_code == 400
        unsigned = bytes(
            ConsistencyFile(10, (), log.checkpoint(10).replace(ORIGIN.encode() + b" ", b"other "))
        )
        assert client.post("/add-checkpoint", content=unsigned).status_code == 403
        unknown = log.request(0, 10).replace(ORIGIN.encode(), b"unknown.example")
        assert client.post("/add-checkpoint", content=unknown).status_code == 404
        assert client.get("/add-checkpoint").status_code == 405
        assert client.get("/elsewhere").status_code == 404


def test_what_is_too_large_is_refused_unread_and_it_answers_on(witness: Served, log: SmallLog) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(2 * MAX_REQUEST_BYTES // 4096):
            yield b"x" * 4096

    with witness.client() as client:
        stated = client.post("/add-checkpoint", content=b"x" * (MAX_REQUEST_BYTES + 1))
        assert stated.status_code == 413
    with witness.client() as client:
        assert client.post("/add-checkpoint", content=pieces()).status_code == 413
    with witness.client() as client:
        assert client.post("/add-checkpoint", content=log.request(0, 10)).status_code == 200


def test_clients_that_say_nothing_do_not_keep_a_log_out(witness: Served, log: SmallLog) -> None:
    port = int(witness.url.rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    try:
        for each in silent[:10]:
            each.send(b"\x16\x03\x01")  # the beginning of a greeting that never ends
        with witness.client() as client:
            client.timeout = 60
            assert client.post("/add-checkpoint", content=log.request(0, 10)).status_code == 200
    finally:
        for each in silent:
            each.close()


def test_killed_and_started_again_it_goes_on_where_it_was(folder: WitnessFolder, log: SmallLog) -> None:
    first = start(folder, "127.0.0.1", free_port())
    with first.client() as client:
        assert client.post("/add-checkpoint", content=log.request(0, 50)).status_code == 200
    first.kill()
    second = start(folder, "127.0.0.1", free_port())
    try:
        with second.client() as client:
            assert client.post("/add-checkpoint", content=log.request(0, 40)).text == "50\n"
            assert client.post("/add-checkpoint", content=log.request(50, 60)).status_code == 200
    finally:
        second.stop()


def test_it_proves_who_it_is_and_takes_no_old_tls(witness: Served) -> None:
    port = int(witness.url.rpartition(":")[2])
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(witness.folder.certificate)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname="localhost")


def test_its_commands_need_no_site_and_say_what_is_wrong(tmp_path: Path, log: SmallLog) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(STRONGROOM), "witness", *words, "--data", str(tmp_path / "w")]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert run("show").returncode == 4
    bad = run("init", "--name", "two words")
    assert (bad.returncode, bad.stderr.startswith("A witness cannot be called")) == (2, True)
    made = run("init", "--name", WITNESS)
    assert made.returncode == 0
    assert (tmp_path / "w").stat().st_mode & 0o777 == 0o700
    assert run("init", "--name", WITNESS).returncode == 5
    assert run("trust", "junk").returncode == 2
    assert "is watched." in run("trust", log.key.vkey).stdout
    assert "already" in run("trust", log.key.vkey).stdout
    assert ORIGIN in run("show").stdout
