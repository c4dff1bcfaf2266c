"""The key process as a process: what it shows, how it dies, what it takes from its socket."""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.intents import IntentLog
from vault.errors import (
    BadInput,
    Conflict,
    HostFailure,
    HostUnprotected,
    KeyStoreDamaged,
    KeyStoreMissing,
    Sealed,
    UnsealFailed,
)
from vault.keystore.child import KeyProcess
from vault.keystore.client import KeyProcessClient
from vault.keystore.founding import init_store
from vault.keystore.seals.passphrase import Argon2Parameters, PassphraseSeal
from vault.keystore.store import KeyStoreFile
from vault.keystore.warrant import KEY_STORE

MODULE = "tests.fakes.key_process"
PASSPHRASE = b"a passphrase for tests"
SEAL = PassphraseSeal(Argon2Parameters(passes_t=1, memory_m_kib=64, lanes_p=1))
GUEST = EntityRef(EntityType.GUEST, "b3a1f6c2-9c53-4f0a-8f34-6f2f1c8d0e01")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    init_store(tmp_path / "keystore", SEAL, bytearray(PASSPHRASE))
    return tmp_path / "keystore"


@pytest.fixture
def log(tmp_path: Path) -> IntentLog:
    return IntentLog(tmp_path / "log")


@pytest.fixture
def client(folder: Path, log: IntentLog) -> Iterator[KeyProcessClient]:
    started = KeyProcessClient(folder, log.path, module=MODULE).start()
    yield started
    started.close()


def unseal(client: KeyProcessClient, log: IntentLog) -> None:
    client.unseal(log.intend(Action.KEYSTORE_UNSEAL, KEY_STORE), bytearray(PASSPHRASE))


def pid_of(client: KeyProcessClient) -> int:
    pid = client.status().pid
    assert pid is not None
    return pid


def wait_until_gone(pid: int, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while Path(f"/proc/{pid}").exists():
        if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return
        assert time.monotonic() < deadline, "the key process lives on"
        time.sleep(0.02)


# -- what it shows ---------------------------------------------------------------------------


def test_no_secret_is_in_its_arguments_or_environment(client: KeyProcessClient, log: IntentLog) -> None:
    unseal(client, log)
    permit = log.intend(Action.GUEST_CREATE, GUEST)
    key = client.create_key(permit, GUEST)
    secrets = [PASSPHRASE, client.unwrap_key(permit, GUEST, key.id).reveal()]
    for name in ("cmdline", "environ"):
        shown = Path(f"/proc/{pid_of(client)}/{name}").read_bytes()
        assert not [secret for secret in secrets if secret in shown]
    environ = Path(f"/proc/{pid_of(client)}/environ").read_bytes()
    assert {line.split(b"=")[0] for line in environ.split(b"\0") if line} <= {b"PATH", b"LC_ALL", b"PWD"}


def test_its_memory_is_locked_and_never_dumped(client: KeyProcessClient) -> None:
    status = Path(f"/proc/{pid_of(client)}/status").read_text()
    sizes = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Vm")}
    assert int(sizes["VmLck"]) > 10_000  # kB: the whole process
    assert sizes["VmSwap"] == "0"
    limits = Path(f"/proc/{pid_of(client)}/limits").read_text()
    (core,) = [line.split() for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core[4:6] == ["0", "0"]


def test_it_inherits_one_socket_and_nothing_else(client: KeyProcessClient) -> None:
    standard = {"0", "1", "2"}
    open_files = [
        path.readlink() for path in Path(f"/proc/{pid_of(client)}/fd").iterdir() if path.name not in standard
    ]
    assert len([path for path in open_files if str(path).startswith("socket:")]) == 1
    assert {path.name for path in open_files if not str(path).startswith("socket:")} <= {
        "keys.db",
        "keys.db-wal",
    }


def kek_copies(pid: int, kek: bytes) -> int:
    """How often the KEK is in the memory of a process."""
    found = 0
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            start, end = (int(edge, 16) for edge in span.split("-"))
            if not rights.startswith("rw"):
                continue
            memory.seek(start)
            found += memory.read(end - start).count(kek)
    return found


def test_the_kek_is_in_its_memory_while_unsealed_and_gone_once_sealed(folder: Path, log: IntentLog) -> None:
    store = KeyStoreFile(folder)
    (sealed,) = store.seals("passphrase", 1)
    kek = bytes(SEAL.open(sealed, bytearray(PASSPHRASE)))
    store.close()
    client = KeyProcessClient(folder, log.path, module=MODULE).start()
    try:
        assert kek_copies(pid_of(client), kek) == 0
        unseal(client, log)
        permit = log.intend(Action.GUEST_CREATE, GUEST)
        client.unwrap_key(permit, GUEST, client.create_key(permit, GUEST).id).wipe()
        assert kek_copies(pid_of(client), kek) >= 1
        client.seal(log.intend(Action.KEYSTORE_SEAL, KEY_STORE))
        assert kek_copies(pid_of(client), kek) == 0
    finally:
        client.close()


# -- how it dies -----------------------------------------------------------------------------


def test_a_killed_process_is_sealed_and_the_next_unseal_starts_it_again(
    client: KeyProcessClient, log: IntentLog
) -> None:
    unseal(client, log)
    permit = log.intend(Action.GUEST_CREATE, GUEST)
    key = client.create_key(permit, GUEST)
    killed = pid_of(client)
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(Sealed, match="has ended") as gone:
        client.unwrap_key(permit, GUEST, key.id)
    assert "strongroom unseal" in gone.value.hint
    status = client.status()
    assert (status.running, status.sealed, status.pid) == (False, True, None)
    client.seal(log.intend(Action.KEYSTORE_SEAL, KEY_STORE))
    unseal(client, log)
    assert pid_of(client) != killed
    assert client.unwrap_key(permit, GUEST, key.id).reveal()


def test_a_key_that_was_acknowledged_survives_a_kill(client: KeyProcessClient, log: IntentLog) -> None:
    unseal(client, log)
    keys = []
    for _ in range(5):
        permit = log.intend(Action.GUEST_CREATE, GUEST)
        keys.append(client.create_key(permit, GUEST).id)
        os.kill(pid_of(client), signal.SIGKILL)
        unseal(client, log)
    assert sorted(keys) == [key.id for key in client.list_keys()]


def test_closing_the_client_ends_the_process(folder: Path, log: IntentLog) -> None:
    client = KeyProcessClient(folder, log.path, module=MODULE).start()
    pid = pid_of(client)
    client.close()
    client.close()
    assert not Path(f"/proc/{pid}").exists()


DAEMON = """
import os, sys, time
from pathlib import Path
from vault.keystore.client import KeyProcessClient
client = KeyProcessClient(Path(sys.argv[1]), Path(sys.argv[2]), module="tests.fakes.key_process").start()
if sys.argv[3] == "leak" and os.fork() == 0:
    time.sleep(60)  # holds the daemon's end of the socket open
    os._exit(0)
print(client.status().pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["plain", "leak"])
def test_it_ends_when_the_daemon_is_killed_also_if_the_socket_stays_open(
    folder: Path, log: IntentLog, how: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON, folder, log.path, how],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        start_new_session=True,
    ) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        daemon.kill()
        wait_until_gone(pid)
        os.killpg(daemon.pid, signal.SIGKILL)  # the process that held the socket


def test_it_outlives_the_thread_that_asked_for_it(folder: Path, log: IntentLog) -> None:
    """PR_SET_PDEATHSIG follows the thread that forked, and a request's thread ends with the request."""
    client = KeyProcessClient(folder, log.path, module=MODULE)
    thread = threading.Thread(target=client.start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert client.status().running
    client.close()


def test_a_process_that_does_not_answer_is_ended_and_counts_as_sealed(folder: Path, log: IntentLog) -> None:
    client = KeyProcessClient(folder, log.path, module=MODULE, answer_within_s=3.0).start()
    pid = pid_of(client)
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(3.5, os.kill, (pid, signal.SIGCONT)).start()
    assert client.status().running is False
    wait_until_gone(pid)
    client.close()


# -- how it starts ---------------------------------------------------------------------------


def test_a_missing_store_a_loose_one_and_a_damaged_one_are_told_apart(
    folder: Path, log: IntentLog, tmp_path: Path
) -> None:
    cases: list[tuple[Path, type[Exception], str]] = [(tmp_path / "none", KeyStoreMissing, "no key store")]
    folder.chmod(0o755)
    cases.append((folder, HostUnprotected, "Others may reach"))
    for place, error, sentence in cases:
        client = KeyProcessClient(place, log.path, module=MODULE)
        with pytest.raises(error, match=sentence):
            client.start()
        assert client.status().running is False
        client.close()
    folder.chmod(0o700)
    (folder / "keys.db").write_bytes(b"not a key store")
    client = KeyProcessClient(folder, log.path, module=MODULE)
    with pytest.raises(KeyStoreDamaged):
        client.start()
    client.close()


def test_a_second_daemon_does_not_get_the_store(
    client: KeyProcessClient, folder: Path, log: IntentLog
) -> None:
    assert client.status().running
    second = KeyProcessClient(folder, log.path, module=MODULE)
    with pytest.raises(Conflict, match="Another process"):
        second.start()
    second.close()


def test_a_module_that_cannot_run_is_a_clear_failure(folder: Path, log: IntentLog) -> None:
    client = KeyProcessClient(folder, log.path, module="tests.fakes.no_such_module")
    with pytest.raises(HostFailure, match="ended while it started"):
        client.start()
    client.close()


def test_a_process_that_may_not_lock_its_memory_holds_no_key(folder: Path, log: IntentLog) -> None:
    """Without the right to lock memory the root key could reach swap, so the process must not start."""
    ours, theirs = socket.socketpair()
    arguments = ["--store", str(folder), "--log", str(log.path), "--fd", str(theirs.fileno())]
    without_right = ["setpriv", "--bounding-set", "-ipc_lock", "--inh-caps", "-ipc_lock"]
    with ours, theirs:
        ended = subprocess.run(
            ["prlimit", "--memlock=65536:65536", *without_right, sys.executable, "-m", MODULE, *arguments],
            pass_fds=(theirs.fileno(),),
            cwd=Path(__file__).parents[3],
            check=False,
            timeout=60,
        )
        ours.settimeout(10)
        answer = ours.recv(65536)
    assert ended.returncode == 10
    assert b"cannot lock its memory" in answer


# -- what it takes from its socket -------------------------------------------------------------


@pytest.fixture
def raw(folder: Path, log: IntentLog) -> Iterator[KeyProcess]:
    process = KeyProcess(folder, log.path, module=MODULE)
    process.start()
    yield process
    process.close()


def test_an_unknown_command_and_missing_fields_are_refused_in_words(raw: KeyProcess) -> None:
    with pytest.raises(BadInput, match="no such command"):
        raw.request("give_me_everything")
    with pytest.raises(BadInput, match="lacks key"):
        raw.request("show_key")
    with pytest.raises(BadInput, match="lacks owner"):
        raw.request("create_key", purpose="disk")
    with pytest.raises(BadInput, match="no usable owner"):
        raw.request("create_key", owner="nonsense", purpose="disk")
    with pytest.raises(BadInput, match="no usable purpose"):
        raw.request("create_key", owner=str(GUEST), purpose="all")
    with pytest.raises(BadInput, match="whole number"):
        raw.request("list_keys", after_id="", after_version="x")
    assert raw.request("status").document["ok"]["sealed"] is True


def test_a_secret_that_is_too_long_is_refused_before_it_is_sent(raw: KeyProcess) -> None:
    with pytest.raises(BadInput, match="too long"):
        raw.request("unseal", bytearray(9000), seal="passphrase")
    assert raw.request("status").document["ok"]["sealed"] is True


def test_what_is_no_message_ends_the_process(raw: KeyProcess) -> None:
    pid = raw.pid
    assert pid is not None
    connection = raw._connection
    assert connection is not None
    connection.sendall(struct.pack(">II", 2**31, 0))
    wait_until_gone(pid)
    with pytest.raises(Sealed):
        raw.request("status")


def test_several_threads_get_each_their_own_answer(client: KeyProcessClient, log: IntentLog) -> None:
    unseal(client, log)
    permit = log.intend(Action.GUEST_CREATE, GUEST)
    keys = [client.create_key(permit, GUEST).id for _ in range(4)]
    wrong: list[str] = []

    def ask(key_id: str) -> None:
        wrong.extend(key_id for _ in range(25) if client.show_key(key_id).id != key_id)

    threads = [threading.Thread(target=ask, args=(key_id,)) for key_id in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_failed_unseal_makes_the_next_wait_but_leaves_others_answered(
    client: KeyProcessClient, log: IntentLog
) -> None:
    def guess() -> None:
        with pytest.raises(UnsealFailed):
            client.unseal(log.intend(Action.KEYSTORE_UNSEAL, KEY_STORE), bytearray(b"a wrong passphrase"))

    for _ in range(2):
        guess()
    waiting = threading.Thread(target=guess)
    began = time.monotonic()
    waiting.start()
    assert client.status().failed_unseals == 2
    assert time.monotonic() - began < 0.4  # the waiting guess is held for half a second
    waiting.join()
    assert time.monotonic() - began > 0.4
    assert client.status().failed_unseals == 3
