"""`strongroom init` makes a whole site or none, where QEMU can reach it and nobody can read it."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from audit.log.record import Kind
from audit.verify import verify_store
from policies.errors import StrongroomError
from tests.fakes.guest_host import FakeGuestHost
from tests.sites import ADMINISTRATOR, PASSPHRASE, PASSWORD, PreparedSite, new_settings, remove_site, told
from vault.config import Settings
from vault.errors import BadInput, Conflict, HostFailure
from vault.operations.init import init_site

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
STEPS = ["create_database", "make_certificate", "_write_session_key", "_create_administrator", "_sync"]


@pytest.fixture
def settings() -> Iterator[Settings]:
    made = new_settings()
    made.data_dir.parent.mkdir(parents=True, exist_ok=True)
    yield made
    remove_site(made)


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder that others may enter; pytest's own may not be."""
    folder = Path(tempfile.mkdtemp(prefix="strongroom-init-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def make(settings: Settings, name: str = ADMINISTRATOR, password: str = PASSWORD) -> dict[str, object]:
    return init_site(settings, name, password, bytearray(PASSPHRASE))


def left_of(settings: Settings) -> list[str]:
    """What lies in the place of a site, or beside it, by its name."""
    return sorted(path.name for path in settings.data_dir.parent.iterdir() if settings.instance in path.name)


def test_a_new_site_is_recorded_from_its_first_moment_and_works(settings: Settings) -> None:
    made = make(settings)
    assert verify_store(settings.log_db).holds
    administrator = made["administrator"]
    assert isinstance(administrator, dict)
    prepared = PreparedSite(settings, {ADMINISTRATOR: administrator["id"]})
    with prepared.opened(FakeGuestHost()) as site:
        assert told(site, 0)[:5] == [
            (Kind.SYSTEM, "log.epoch", "ok"),
            (Kind.INTENT, "system.init", None),
            (Kind.INTENT, "account.create", None),
            (Kind.OUTCOME, "account.create", "ok"),
            (Kind.OUTCOME, "system.init", "ok"),
        ]
        assert not site.keys.status().sealed
    assert verify_store(settings.log_db).holds


def test_what_a_new_site_keeps_secret_only_root_may_read(settings: Settings) -> None:
    old = os.umask(0)
    try:
        make(settings)
    finally:
        os.umask(old)
    for path in [settings.data_dir, *settings.data_dir.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        if path in {settings.data_dir, settings.data_dir / "disks", settings.data_dir / "images"}:
            assert mode == 0o711, f"guests' users pass through {path}, and read nothing there"
        elif path.is_dir():
            assert mode == 0o700, path
        elif path.name in {"tls.crt", "config.toml"}:
            assert mode == 0o644, f"{path} is for everybody to read"
        else:
            assert mode == 0o600, path


def test_the_folders_above_a_new_site_let_guests_through_whatever_the_umask(elsewhere: Path) -> None:
    settings = replace(new_settings(), data_dir=elsewhere / "deep" / "down" / "test-umask")
    old = os.umask(0o077)
    try:
        make(settings)
    finally:
        os.umask(old)
    for folder in (elsewhere / "deep", elsewhere / "deep" / "down", settings.data_dir):
        assert folder.stat().st_mode & 0o001, f"QEMU cannot enter {folder}"


@pytest.mark.parametrize(
    ("path", "mode", "says"),
    [
        ("secrets/log.key", 0o644, "signing key"),
        ("keystore", 0o755, "keystore"),
        ("keystore/keys.db", 0o640, r"keys\.db"),
    ],
)
def test_a_site_whose_secrets_others_may_read_does_not_open_until_that_is_mended(
    prepared: PreparedSite, path: str, mode: int, says: str
) -> None:
    secret = prepared.settings.data_dir / path
    right = stat.S_IMODE(secret.stat().st_mode)
    secret.chmod(mode)
    try:
        with pytest.raises(StrongroomError, match=says) as refused, prepared.opened(FakeGuestHost()):
            pass
        assert refused.value.exit_code in {9, 10}
        assert refused.value.hint
    finally:
        secret.chmod(right)
    with prepared.opened(FakeGuestHost()) as site:
        assert not site.keys.status().sealed


def test_a_second_init_is_a_conflict_and_leaves_the_site_as_it_is(settings: Settings) -> None:
    make(settings)
    before = {path: path.stat().st_mtime_ns for path in settings.data_dir.rglob("*")}
    with pytest.raises(Conflict) as refused:
        make(settings)
    assert refused.value.exit_code == 5
    assert "strongroom serve" in refused.value.hint
    assert {path: path.stat().st_mtime_ns for path in settings.data_dir.rglob("*")} == before


def test_a_place_that_qemu_cannot_enter_is_refused_and_nothing_is_made(elsewhere: Path) -> None:
    (elsewhere / "home").mkdir(mode=0o700)
    settings = replace(new_settings(), data_dir=elsewhere / "home" / "below" / "test-closed")
    with pytest.raises(BadInput) as refused:
        make(settings)
    assert refused.value.exit_code == 2
    assert str(elsewhere / "home") in refused.value.message
    assert list((elsewhere / "home").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "password", "passphrase"),
    [
        ("Ada!", PASSWORD, PASSPHRASE),
        (ADMINISTRATOR, "short1", PASSPHRASE),
        (ADMINISTRATOR, PASSWORD, b"short"),
        (ADMINISTRATOR, PASSWORD, b""),
    ],
)
def test_an_init_that_is_refused_leaves_nothing(
    settings: Settings, name: str, password: str, passphrase: bytes
) -> None:
    with pytest.raises(BadInput) as refused:
        init_site(settings, name, password, bytearray(passphrase))
    assert refused.value.exit_code == 2
    assert left_of(settings) == []


def test_a_file_or_a_link_in_the_place_of_the_folder_is_refused(settings: Settings, elsewhere: Path) -> None:
    settings.data_dir.symlink_to(elsewhere)
    try:
        with pytest.raises(BadInput):
            make(settings)
        assert list(elsewhere.iterdir()) == []
    finally:
        settings.data_dir.unlink()


def test_the_passphrase_is_wiped_from_the_callers_buffer(settings: Settings) -> None:
    typed = bytearray(PASSPHRASE)
    init_site(settings, ADMINISTRATOR, PASSWORD, typed)
    assert typed == bytes(len(PASSPHRASE))


def test_a_key_store_that_is_there_already_is_never_touched(settings: Settings, elsewhere: Path) -> None:
    apart = replace(settings, key_store_dir=elsewhere / "keys")
    (elsewhere / "keys").mkdir(mode=0o700)
    (elsewhere / "keys" / "keys.db").write_bytes(b"of a site whose data folder is gone")
    with pytest.raises(Conflict):
        make(apart)
    assert (elsewhere / "keys" / "keys.db").read_bytes() == b"of a site whose data folder is gone"
    assert left_of(settings) == []


def test_a_key_store_on_another_device_is_no_obstacle_after_an_init_that_failed(
    settings: Settings, elsewhere: Path
) -> None:
    apart = replace(settings, key_store_dir=elsewhere / "keys")
    with pytest.raises(StrongroomError):
        make(apart, name="Ada!")
    made = make(apart)
    assert sorted(path.name for path in elsewhere.iterdir()) == ["keys"]
    assert (elsewhere / "keys" / "keys.db").is_file()
    assert not (settings.data_dir / "keystore").exists()
    with pytest.raises(Conflict):
        make(apart)
    assert made["seal"] == "passphrase"


def test_a_link_does_not_hide_a_place_that_qemu_cannot_enter(elsewhere: Path) -> None:
    (elsewhere / "home").mkdir(mode=0o700)
    (elsewhere / "home" / "open").mkdir(mode=0o755)
    (elsewhere / "link").symlink_to(elsewhere / "home" / "open")
    with pytest.raises(BadInput, match="home"):
        make(replace(new_settings(), data_dir=elsewhere / "link" / "test-link"))


@pytest.mark.parametrize("step", STEPS)
def test_an_init_that_is_killed_leaves_no_site_and_can_be_run_again(settings: Settings, step: str) -> None:
    died = subprocess.run(
        [sys.executable, "-m", "tests.flow.test_init", str(settings.data_dir), step],
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert died.returncode == -signal.SIGKILL
    if step == "_sync":
        assert verify_store(settings.log_db).holds, "it was whole, only its name was not yet forced to disk"
        return
    assert not settings.data_dir.exists()
    assert left_of(settings) == [f".{settings.instance}.init"]
    make(settings)
    assert left_of(settings) == [settings.instance]
    assert verify_store(settings.log_db).holds


def test_a_place_without_room_for_a_site_is_told_with_its_reason(settings: Settings) -> None:
    with pytest.raises(HostFailure) as refused:
        make(replace(settings, data_dir=Path("/proc/nowhere/test-nowhere")))
    assert refused.value.exit_code == 10


def die_in_init(data_dir: Path, step: str) -> None:
    """Run init in this process, which is killed at a step of it."""
    import vault.operations.init as module  # noqa: PLC0415 - only the dying process changes it

    def die(*_arguments: object, **_named: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(module, step, die)
    make(replace(new_settings(), data_dir=data_dir))


if __name__ == "__main__":
    die_in_init(Path(sys.argv[1]), sys.argv[2])
