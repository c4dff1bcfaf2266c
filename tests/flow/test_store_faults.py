"""Log, state and key store of different ages, damaged, or gone: said in a sentence, and nothing is lost by it."""

import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from audit.errors import LogDamaged
from policies.errors import StrongroomError
from tests.fakes.guest_host import FakeGuestHost
from tests.sites import (
    ADMINISTRATOR,
    OPERATOR,
    PASSPHRASE,
    PreparedSite,
    guest_row,
    make_guest,
    open_findings,
    prepared_site,
    records,
    require_log_holds,
)
from vault.errors import HostFailure, KeyStoreDamaged, KeyStoreMissing, KeyStoreOlder, Sealed
from vault.gate import Caller
from vault.jobs import no_progress
from vault.operations.guest_delete import delete_guest
from vault.operations.guest_list import list_guests, show_guest
from vault.operations.guest_run import start_guest, stop_guest
from vault.operations.keystore import status, unseal
from web.app import create_app
from web.serve import serve

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def prepared() -> Iterator[PreparedSite]:
    """A site of this module's own, because it breaks it."""
    with prepared_site(FakeGuestHost()) as made:
        yield made


@pytest.fixture
def host() -> FakeGuestHost:
    return FakeGuestHost()


@pytest.fixture
def olga(prepared: PreparedSite) -> Caller:
    return prepared.caller(OPERATOR)


@pytest.fixture
def store(prepared: PreparedSite) -> Path:
    return prepared.settings.keystore_dir


@contextlib.contextmanager
def kept(*paths: Path) -> Iterator[list[Path]]:
    """Copies of files or folders as they are now; what is in their places is put right after the block."""
    copies = [path.with_name(f"{path.name}.kept") for path in paths]
    for path, copy in zip(paths, copies, strict=True):
        put(path, copy)
    try:
        yield copies
    finally:
        for path, copy in zip(paths, copies, strict=True):
            put(copy, path)
            remove(copy)


def put(source: Path, target: Path) -> None:
    remove(target)
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copy2(source, target)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# -- the key store is older than the state ------------------------------------------------------


def test_a_key_store_older_than_a_guest_is_refused_at_unseal_unless_that_is_accepted(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller, store: Path
) -> None:
    ada = prepared.caller(ADMINISTRATOR)
    older = store.with_name("older")
    put(store, older)
    with prepared.opened(host) as site:
        guest_id = make_guest(site, olga, "newer")
    put(store, store.with_name("newest"))
    put(older, store)
    with prepared.opened(host, unsealed=False) as site:
        assert open_findings(site) == {("keystore.older", f"guest:{guest_id}")}
        with pytest.raises(KeyStoreOlder, match="older than the site's state: 1 of the keys") as refused:
            unseal(site, ada, bytearray(PASSPHRASE))
        assert refused.value.exit_code == 6
        assert "--accept-older" in refused.value.hint
        assert site.keys.status().sealed
        unseal(site, ada, bytearray(PASSPHRASE), accept_older=True)
        accepted = [record for record in records(site) if record.action == "keystore.unseal"][-1]
        assert accepted.result == {
            "code": "ok",
            "facts": {"accepted": True, "keys_missing": 1, "keys_revived": 0},
        }
        with pytest.raises(StrongroomError):
            start_guest(site, olga, "newer", no_progress)
        make_guest(site, olga, "after")  # the rest of the site works
        delete_guest(site, olga, "after")
    put(store.with_name("newest"), store)
    with prepared.opened(host) as site:
        assert open_findings(site) == set()
        start_guest(site, olga, "newer", no_progress)
        assert host.is_running(guest_id)
        stop_guest(site, olga, "newer", timeout_s=1, progress=no_progress)
        delete_guest(site, olga, "newer")
        require_log_holds(site)
    remove(older)
    remove(store.with_name("newest"))


def test_a_destroyed_key_that_is_alive_again_is_found(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller, store: Path
) -> None:
    with prepared.opened(host) as site:
        guest_id = make_guest(site, olga, "erased")
    put(store, store.with_name("older"))
    with prepared.opened(host) as site:
        delete_guest(site, olga, "erased")
    with kept(store):
        put(store.with_name("older"), store)
        with prepared.opened(host, unsealed=False) as site:
            assert open_findings(site) == {("keystore.older", f"guest:{guest_id}")}
            with pytest.raises(KeyStoreOlder, match="1 destroyed ones are alive again"):
                unseal(site, prepared.caller(ADMINISTRATOR), bytearray(PASSPHRASE))
    remove(store.with_name("older"))
    with prepared.opened(host) as site:
        assert open_findings(site) == set()


def test_another_sites_key_store_is_refused_also_when_older_ones_are_accepted(
    prepared: PreparedSite, host: FakeGuestHost, store: Path
) -> None:
    with prepared_site(FakeGuestHost()) as other, kept(store):
        put(other.settings.keystore_dir, store)
        with prepared.opened(host, unsealed=False) as site:
            for accept_older in (False, True):
                with pytest.raises(KeyStoreOlder, match="none of this site's keys") as refused:
                    unseal(
                        site,
                        prepared.caller(ADMINISTRATOR),
                        bytearray(PASSPHRASE),
                        accept_older=accept_older,
                    )
                assert refused.value.exit_code == 6
            assert site.keys.status().sealed
    with prepared.opened(host) as site:
        assert open_findings(site) == set()


# -- the key store is damaged or gone ---------------------------------------------------------------


def emptied(folder: Path) -> None:
    (folder / "keys.db").write_bytes(b"")


def flipped(folder: Path) -> None:
    content = bytearray((folder / "keys.db").read_bytes())
    content[200:4000] = bytes(byte ^ 0xFF for byte in content[200:4000])
    (folder / "keys.db").write_bytes(content)


@pytest.mark.parametrize("harm", [emptied, flipped, shutil.rmtree])
def test_a_site_whose_key_store_is_no_use_opens_sealed_and_its_guests_can_be_stopped(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller, store: Path, harm: Callable[[Path], None]
) -> None:
    ada = prepared.caller(ADMINISTRATOR)
    with prepared.opened(host) as site:
        guest_id = make_guest(site, olga, "runs-on")
        start_guest(site, olga, "runs-on", no_progress)
    with kept(store):
        harm(store)
        with prepared.opened(host, unsealed=False) as site:
            assert status(site)["sealed"] is True
            assert ("keystore.unusable", "keystore:keystore") in open_findings(site)
            assert show_guest(site, olga, "runs-on")["state"] == "running"
            with pytest.raises(KeyStoreDamaged) as refused:
                unseal(site, ada, bytearray(PASSPHRASE))
            assert refused.value.exit_code == 6
            assert "backup" in refused.value.hint
            stop_guest(site, olga, "runs-on", timeout_s=1, progress=no_progress)
            assert not host.is_running(guest_id)
            with pytest.raises(StrongroomError) as unstarted:
                start_guest(site, olga, "runs-on", no_progress)
            assert unstarted.value.exit_code == 6
            with pytest.raises(StrongroomError) as kept_whole:
                delete_guest(site, olga, "runs-on")
            assert kept_whole.value.exit_code == 6, "nobody can say that its keys are destroyed"
    with prepared.opened(host) as site:
        assert open_findings(site) == set()
        delete_guest(site, olga, "runs-on")
        row = guest_row(site, guest_id)
        assert row is not None
        assert row.state == "deleted"
        require_log_holds(site)


def test_a_key_store_taken_away_while_the_site_runs_seals_it_and_guests_run_on(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller, store: Path
) -> None:
    away = store.with_name("pulled-out")
    with prepared.opened(host) as site:
        guest_id = make_guest(site, olga, "pulled")
        make_guest(site, olga, "other")
        start_guest(site, olga, "pulled", no_progress)
        store.rename(away)
        with pytest.raises(KeyStoreMissing) as refused:
            start_guest(site, olga, "other", no_progress)
        assert refused.value.exit_code == 6
        assert status(site)["sealed"] is True
        assert host.is_running(guest_id)
        with pytest.raises(Sealed):
            start_guest(site, olga, "other", no_progress)
        stop_guest(site, olga, "pulled", timeout_s=1, progress=no_progress)
        away.rename(store)
        unseal(site, prepared.caller(ADMINISTRATOR), bytearray(PASSPHRASE))
        start_guest(site, olga, "other", no_progress)
        stop_guest(site, olga, "other", timeout_s=1, progress=no_progress)
        for name in ("pulled", "other"):
            delete_guest(site, olga, name)
        require_log_holds(site)


# -- the state ------------------------------------------------------------------------------------------


STATE_FILES = ("state.db", "state.db-wal", "state.db-shm")


def test_a_state_older_than_the_key_store_is_found_and_the_guests_disk_left_alone(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller
) -> None:
    data = prepared.settings.data_dir
    put(data / "state.db", data / "state.older")
    with prepared.opened(host) as site:
        guest_id = make_guest(site, olga, "forgotten")
    with kept(*(data / name for name in STATE_FILES)):
        for name in STATE_FILES:
            remove(data / name)
        put(data / "state.older", data / "state.db")
        with prepared.opened(host) as site:
            assert open_findings(site) == {("state.older", f"guest:{guest_id}")}
            assert list_guests(site, olga)["items"] == []
            assert (data / "disks" / guest_id / "root.qcow2").exists()
    remove(data / "state.older")
    with prepared.opened(host) as site:
        assert open_findings(site) == set()
        delete_guest(site, olga, "forgotten")


def removed_whole(state: Path) -> None:
    for name in STATE_FILES:
        state.with_name(name).unlink(missing_ok=True)


def replaced_by_a_copy(state: Path) -> None:
    copy = state.read_bytes()
    removed_whole(state)
    state.write_bytes(copy)


@pytest.mark.parametrize("harm", [removed_whole, replaced_by_a_copy])
def test_a_state_taken_away_while_the_site_runs_stops_it_and_is_saved(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller, harm: Callable[[Path], None]
) -> None:
    state = prepared.settings.state_db
    with contextlib.suppress(HostFailure), prepared.opened(host) as site:
        guest_id = make_guest(site, olga, "acknowledged")
        harm(state)
        for _ in range(2):
            with pytest.raises(HostFailure, match="removed or replaced while in use") as refused:
                start_guest(site, olga, "acknowledged", no_progress)
            assert refused.value.exit_code == 10
        assert host.domains == {}
    (rescued,) = state.parent.glob("state.db.rescued-*")
    assert str(rescued) in refused.value.hint
    assert rescued.stat().st_mode & 0o777 == 0o600
    for name in STATE_FILES:
        remove(state.with_name(name))
    rescued.rename(state)
    with prepared.opened(host) as site:
        assert guest_row(site, guest_id) is not None
        delete_guest(site, olga, "acknowledged")
        require_log_holds(site)


def test_a_write_ahead_log_of_the_state_that_is_removed_loses_nothing(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller
) -> None:
    with contextlib.suppress(HostFailure), prepared.opened(host) as site:
        guest_id = make_guest(site, olga, "in-the-wal")
        prepared.settings.state_db.with_name("state.db-wal").unlink()
        with pytest.raises(HostFailure, match="removed or replaced") as refused:
            list_guests(site, olga)
        assert "What it held is saved" in refused.value.hint
    with prepared.opened(host) as site:
        assert guest_row(site, guest_id) is not None
        delete_guest(site, olga, "in-the-wal")


def torn(state: Path) -> None:
    content = bytearray(state.read_bytes())
    content[4096 : 4096 * 3] = bytes(4096 * 2)
    state.write_bytes(content)


def text(state: Path) -> None:
    state.write_bytes(b"not a database" * 1000)


@pytest.mark.parametrize("harm", [Path.unlink, torn, text, lambda state: state.write_bytes(b"")])
def test_a_site_whose_state_is_no_use_does_not_open_and_leaves_its_log_as_it_was(
    prepared: PreparedSite, host: FakeGuestHost, harm: Callable[[Path], None]
) -> None:
    state = prepared.settings.state_db
    log_size = prepared.settings.log_db.stat().st_size
    with kept(state):
        harm(state)
        with pytest.raises(StrongroomError) as refused, prepared.opened(host):
            pass
        assert refused.value.exit_code in {7, 10}
        assert refused.value.hint
    assert prepared.settings.log_db.stat().st_size >= log_size
    with prepared.opened(host) as site:
        require_log_holds(site)


def test_a_state_that_cannot_be_written_refuses_with_one_sentence_and_leaves_no_guest_running(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller
) -> None:
    """As on a full or read-only disk: SQLite is told not to write."""
    with prepared.opened(host) as site:
        guest_id = make_guest(site, olga, "unwritable")
        since = site.log.head().size
        connection = sqlite3.connect(prepared.settings.state_db)
        connection.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON guest BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        connection.commit()
        with pytest.raises(HostFailure) as refused:
            start_guest(site, olga, "unwritable", no_progress)
        assert refused.value.exit_code == 10
        assert not host.is_running(guest_id), "a start that failed leaves no guest running"
        connection.execute("DROP TRIGGER full")
        connection.commit()
        connection.close()
        assert [str(r.result["code"]) for r in records(site, since) if r.result and r.intent] == [
            "host.failure"
        ]
        start_guest(site, olga, "unwritable", no_progress)
        stop_guest(site, olga, "unwritable", timeout_s=1, progress=no_progress)
        delete_guest(site, olga, "unwritable")


# -- the log ------------------------------------------------------------------------------------------------


def test_a_site_whose_log_was_rolled_back_between_two_runs_does_not_open(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller
) -> None:
    log = prepared.settings.log_db
    put(log, log.with_name("log.older"))
    with prepared.opened(host) as site:
        list_guests(site, olga)
    with kept(log):
        put(log.with_name("log.older"), log)
        with (
            pytest.raises(LogDamaged, match="older than the head that was noted") as refused,
            prepared.opened(host),
        ):
            pass
        assert refused.value.exit_code == 7
    remove(log.with_name("log.older"))
    with prepared.opened(host) as site:
        require_log_holds(site)


def test_a_log_whose_noted_head_is_missing_says_so_in_a_record_and_a_finding(
    prepared: PreparedSite, host: FakeGuestHost
) -> None:
    (prepared.settings.secrets_dir / "log.head").unlink()
    with prepared.opened(host) as site:
        assert open_findings(site) == {("log.head_missing", "log:log")}
        (told,) = [r for r in records(site) if r.result and r.result["code"] == "log.head_missing"]
        assert site.findings.all_open()[0].record == told.id
        site.findings.close("log.head_missing", "log:log")
    with prepared.opened(host) as site:
        assert open_findings(site) == set()


# -- other files and folders -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["secrets/log.key", "secrets"])
def test_a_site_without_its_secrets_does_not_open_and_says_which(
    prepared: PreparedSite, host: FakeGuestHost, name: str
) -> None:
    path = prepared.settings.data_dir / name
    with kept(path):
        remove(path)
        with pytest.raises(StrongroomError) as refused, prepared.opened(host):
            pass
        assert refused.value.exit_code in {4, 9, 10}
        assert refused.value.hint
    with prepared.opened(host) as site:
        require_log_holds(site)


def test_a_data_folder_that_is_gone_while_the_site_runs_lets_nothing_be_done_and_loses_nothing(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller
) -> None:
    data = prepared.settings.data_dir
    away = data.with_name(f"{data.name}-away")
    with contextlib.suppress(StrongroomError), prepared.opened(host) as site:
        guest_id = make_guest(site, olga, "stays")
        data.rename(away)
        asked: tuple[Callable[[], object], ...] = (
            lambda: start_guest(site, olga, "stays", no_progress),
            lambda: list_guests(site, olga),
        )
        for ask in asked:
            with pytest.raises(StrongroomError) as refused:
                ask()
            assert refused.value.exit_code in {9, 10}
        assert host.domains == {}
        away.rename(data)
    if away.exists():
        away.rename(data)
    with prepared.opened(host) as site:
        assert guest_row(site, guest_id) is not None
        delete_guest(site, olga, "stays")
        require_log_holds(site)


def test_a_folder_of_memory_that_is_gone_refuses_a_creation_and_a_start_makes_it_again(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller
) -> None:
    with prepared.opened(host) as site:
        shutil.rmtree(prepared.settings.memory_dir)
        with pytest.raises(HostFailure, match="or its folder does not exist") as refused:
            make_guest(site, olga, "no-memory")
        assert refused.value.exit_code == 10
        assert list((prepared.settings.data_dir / "disks").iterdir()) == []
    with prepared.opened(host) as site:
        make_guest(site, olga, "with-memory")
        delete_guest(site, olga, "with-memory")
        require_log_holds(site)


def test_an_image_that_is_gone_or_changed_refuses_a_creation_and_leaves_nothing(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller
) -> None:
    images = prepared.settings.data_dir / "images"
    with prepared.opened(host) as site, kept(images):
        (disk,) = images.rglob("disk.qcow2")
        disk.chmod(0o600)
        disk.unlink()
        with pytest.raises(StrongroomError) as refused:
            make_guest(site, olga, "no-image")
        assert refused.value.exit_code in {7, 10}
        assert list((prepared.settings.data_dir / "disks").iterdir()) == []
    with prepared.opened(host) as site:
        make_guest(site, olga, "with-image")
        delete_guest(site, olga, "with-image")


@pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
def test_a_daemon_without_its_certificate_does_not_say_that_there_is_no_site(
    prepared: PreparedSite, name: str
) -> None:
    path = prepared.settings.secrets_dir / name
    with kept(path):
        path.unlink()
        with pytest.raises(HostFailure, match=f"{name} is missing") as refused:
            serve(prepared.settings, lambda _site: None)
        assert refused.value.exit_code == 10
        assert "init" not in refused.value.hint


def test_a_daemon_without_its_session_key_says_which_file_is_missing(
    prepared: PreparedSite, host: FakeGuestHost
) -> None:
    path = prepared.settings.secrets_dir / "session.key"
    with kept(path), prepared.opened(host, unsealed=False) as site:
        path.unlink()
        with pytest.raises(
            FileNotFoundError, match=r"session\.key"
        ):  # told by `serve` as host.failure, exit 10
            create_app(site, threading.Event())


def test_a_cache_that_is_gone_is_made_again(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller, tmp_path: Path
) -> None:
    settings = replace(prepared.settings, cache_dir=tmp_path / "cache")
    with prepared.opened(host, settings=settings) as site:
        make_guest(site, olga, "before")
        shutil.rmtree(tmp_path / "cache")
        make_guest(site, olga, "after")
        start_guest(site, olga, "after", no_progress)
        stop_guest(site, olga, "after", timeout_s=1, progress=no_progress)
        for name in ("before", "after"):
            delete_guest(site, olga, name)
        require_log_holds(site)
