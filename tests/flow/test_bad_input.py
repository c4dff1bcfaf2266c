"""What cannot be done is said in one sentence with its exit code, and changes nothing."""

from collections.abc import Callable

import pytest

from audit.log.record import Kind
from policies.errors import StrongroomError
from policies.vocabulary import Action
from tests.fakes.guest_host import FakeGuestHost
from tests.sites import (
    ADMINISTRATOR,
    IMAGE,
    IMAGE_BYTES,
    MIB,
    OPERATOR,
    PASSPHRASE,
    PASSWORD,
    PreparedSite,
    make_guest,
    new_guest,
    records,
    require_log_holds,
    told,
    whole_state,
    write_bootable_image,
)
from vault.errors import BadInput, Conflict, NotFound, Sealed
from vault.gate import Caller
from vault.guests.spec import host_memory_bytes, parse_size
from vault.jobs import no_progress
from vault.operations.accounts import create_account, create_token
from vault.operations.guest_create import create_guest
from vault.operations.guest_delete import delete_guest
from vault.operations.guest_inside import copy_in, copy_out, exec_in_guest
from vault.operations.guest_list import show_guest
from vault.operations.guest_run import start_guest, stop_guest
from vault.operations.images import import_image
from vault.operations.keystore import seal, unseal
from vault.operations.log import list_records
from vault.operations.reports import create_report
from vault.site import Site

pytestmark = pytest.mark.real


def refused(site: Site, ask: Callable[[], object], kind: type[StrongroomError], exit_code: int) -> str:
    """Ask for what cannot be; the sentence. Nothing but the log may have changed."""
    before = whole_state(site)
    with pytest.raises(kind) as answer:
        ask()
    assert answer.value.exit_code == exit_code
    assert answer.value.message.strip().endswith((".", "?"))
    assert "\n" not in answer.value.message
    assert whole_state(site) == before
    return f"{answer.value.message} {answer.value.hint}"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"name": ""}, "cannot name a guest"),
        ({"name": "a"}, "cannot name a guest"),
        ({"name": "Clinic"}, "cannot name a guest"),
        ({"name": "clinic db"}, "cannot name a guest"),
        ({"name": "../../etc/x"}, "cannot name a guest"),
        ({"name": "clinic\ndb"}, "cannot name a guest"),
        ({"name": "clinic-db\n"}, "cannot name a guest"),
        ({"name": "klinik-ü"}, "cannot name a guest"),
        ({"name": "<b>x</b>"}, "cannot name a guest"),
        ({"name": "x" * 41}, "cannot name a guest"),
        ({"vcpus": 0}, "vCPUs"),
        ({"vcpus": -1}, "vCPUs"),
        ({"vcpus": 10_000}, "vCPUs"),
        ({"memory_bytes": 0}, "memory"),
        ({"memory_bytes": host_memory_bytes() // MIB * MIB}, "memory"),
        ({"memory_bytes": 64 * MIB + 1}, "whole MiB"),
        ({"disk_bytes": 0}, "disk"),
        ({"disk_bytes": IMAGE_BYTES + 1}, "disk"),
        ({"disk_bytes": 17 * 2**40}, "disk"),
        ({"labels": ["Patient Meier"]}, "label"),
        ({"labels": [f"label-{number}" for number in range(17)]}, "labels"),
    ],
    ids=str,
)
def test_a_guest_that_cannot_be_is_refused_before_anything_is_recorded(
    site: Site, olga: Caller, changed: dict[str, object], says: str
) -> None:
    since = site.log.head().size
    wanted = {"name": "fine-name", **changed}
    name = str(wanted.pop("name"))
    said = refused(
        site, lambda: create_guest(site, olga, new_guest(name, **wanted), no_progress), BadInput, 2
    )
    assert says in said
    assert site.log.head().size == since


@pytest.mark.parametrize("text", ["", "0", "0M", "2", "-1G", "1.5G", "2 G", "lots", "1e3M", "9999999G", "٣G"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as answer:
        parse_size(text)
    assert answer.value.exit_code == 2
    assert "not a size" in answer.value.message


def test_an_unknown_image_is_not_found_and_the_nearest_is_named(site: Site, olga: Caller) -> None:
    since = site.log.head().size
    wanted = new_guest("no-image", image="wait")
    said = refused(site, lambda: create_guest(site, olga, wanted, no_progress), NotFound, 4)
    assert f"Did you mean {IMAGE!r}?" in said
    assert told(site, since) == [
        (Kind.INTENT, "guest.create", None),
        (Kind.OUTCOME, "guest.create", "not_found"),
    ]


def test_a_disk_smaller_than_its_image_is_refused(site: Site, olga: Caller, prepared: PreparedSite) -> None:
    source = prepared.settings.data_dir / "large.raw"
    write_bootable_image(source, 2 * IMAGE_BYTES)
    import_image(site, olga, "large", source, None, "raw", no_progress)
    source.unlink()
    wanted = new_guest("small-disk", image="large")
    said = refused(site, lambda: create_guest(site, olga, wanted, no_progress), BadInput, 2)
    assert "smaller than the image" in said


def test_a_name_that_is_taken_is_a_conflict_and_the_guest_of_that_name_stays(
    site: Site, olga: Caller
) -> None:
    first = make_guest(site, olga, "taken")
    since = site.log.head().size
    said = refused(site, lambda: make_guest(site, olga, "taken"), Conflict, 5)
    assert "taken" in said
    assert told(site, since)[-1] == (Kind.OUTCOME, "guest.create", "conflict")
    assert show_guest(site, olga, "taken")["id"] == first
    delete_guest(site, olga, "taken")


@pytest.mark.parametrize("what", ["show", "start", "stop", "delete", "exec", "copy in", "copy out"])
def test_an_unknown_guest_is_not_found_and_the_nearest_is_named(site: Site, olga: Caller, what: str) -> None:
    make_guest(site, olga, "clinic-db")
    try:
        asked: dict[str, Callable[[], object]] = {
            "show": lambda: show_guest(site, olga, "clinic-bd"),
            "start": lambda: start_guest(site, olga, "clinic-bd", no_progress),
            "stop": lambda: stop_guest(site, olga, "clinic-bd", progress=no_progress),
            "delete": lambda: delete_guest(site, olga, "clinic-bd"),
            "exec": lambda: exec_in_guest(site, olga, "clinic-bd", ["/bin/true"], b""),
            "copy in": lambda: copy_in(site, olga, "clinic-bd", "/x", b""),
            "copy out": lambda: copy_out(site, olga, "clinic-bd", "/x"),
        }
        assert "Did you mean 'clinic-db'?" in refused(site, asked[what], NotFound, 4)
    finally:
        delete_guest(site, olga, "clinic-db")


@pytest.mark.parametrize("what", ["stop", "exec", "copy in", "copy out"])
def test_what_needs_a_running_guest_is_a_conflict_while_it_is_stopped(
    site: Site, olga: Caller, what: str
) -> None:
    make_guest(site, olga, "stopped")
    try:
        asked: dict[str, Callable[[], object]] = {
            "stop": lambda: stop_guest(site, olga, "stopped", progress=no_progress),
            "exec": lambda: exec_in_guest(site, olga, "stopped", ["/bin/true"], b""),
            "copy in": lambda: copy_in(site, olga, "stopped", "/x", b""),
            "copy out": lambda: copy_out(site, olga, "stopped", "/x"),
        }
        assert "strongroom guest start stopped" in refused(site, asked[what], Conflict, 5)
    finally:
        delete_guest(site, olga, "stopped")


def test_a_guest_that_does_not_shut_down_in_time_is_a_conflict_and_runs_on(
    site: Site, olga: Caller, host: FakeGuestHost
) -> None:
    guest_id = make_guest(site, olga, "deaf")
    host.guests_listen = False
    start_guest(site, olga, "deaf", no_progress)
    said = refused(
        site, lambda: stop_guest(site, olga, "deaf", timeout_s=0, progress=no_progress), Conflict, 5
    )
    assert "--force" in said
    assert host.is_running(guest_id)
    host.guests_listen = True
    stop_guest(site, olga, "deaf", force=True, timeout_s=0, progress=no_progress)
    assert not host.is_running(guest_id)
    delete_guest(site, olga, "deaf")


# -- keys ----------------------------------------------------------------------------------------


def test_while_sealed_a_guest_is_neither_made_nor_started_and_one_that_runs_runs_on(
    site: Site, olga: Caller, prepared: PreparedSite, host: FakeGuestHost
) -> None:
    running, stopped = make_guest(site, olga, "runs-on"), make_guest(site, olga, "stays-down")
    start_guest(site, olga, "runs-on", no_progress)
    seal(site, prepared.caller(ADMINISTRATOR))
    since = site.log.head().size
    said = refused(site, lambda: make_guest(site, olga, "too-late"), Sealed, 6)
    assert "strongroom unseal" in said
    refused(site, lambda: start_guest(site, olga, "stays-down", no_progress), Sealed, 6)
    assert [code for kind, _, code in told(site, since) if kind is Kind.OUTCOME] == ["keystore.sealed"] * 2
    assert host.is_running(running)
    assert not host.is_running(stopped)
    stop_guest(site, olga, "runs-on", timeout_s=1, progress=no_progress)
    for name in ("runs-on", "stays-down"):
        delete_guest(site, olga, name)
    unseal(site, prepared.caller(ADMINISTRATOR), bytearray(PASSPHRASE))
    require_log_holds(site)


# -- people, tokens, questions ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "password", "roles", "says"),
    [
        ("Dr. Meier", PASSWORD, ["operator"], "cannot name an account"),
        ("pat-new", "short1", ["operator"], "too short"),
        ("pat-new", "onlyletters-here", ["operator"], "digit"),
        ("pat-new", "pat-new-12345678", ["operator"], "account's name"),
        ("pat-new", PASSWORD, ["king"], "no role 'king'"),
        ("pat-new", PASSWORD, [], "at least one role"),
    ],
)
def test_an_account_that_cannot_be_is_refused_and_leaves_no_key(
    site: Site, prepared: PreparedSite, name: str, password: str, roles: list[str], says: str
) -> None:
    ada = prepared.caller(ADMINISTRATOR)
    said = refused(site, lambda: create_account(site, ada, name, password, roles), BadInput, 2)
    assert says in said


def test_an_account_name_that_is_taken_is_a_conflict_and_leaves_no_key(
    site: Site, prepared: PreparedSite
) -> None:
    ada = prepared.caller(ADMINISTRATOR)
    refused(site, lambda: create_account(site, ada, OPERATOR, PASSWORD, ["auditor"]), Conflict, 5)


@pytest.mark.parametrize("days", [0, -1, 366])
def test_a_token_that_would_live_for_ever_is_refused(site: Site, olga: Caller, days: int) -> None:
    refused(site, lambda: create_token(site, olga, "for ever", days), BadInput, 2)


def test_an_image_that_is_not_what_was_promised_leaves_nothing(
    site: Site, olga: Caller, prepared: PreparedSite
) -> None:
    source = prepared.settings.data_dir / "promised.raw"
    write_bootable_image(source)

    def ask(name: str, sha256: str | None, image_format: str) -> Callable[[], object]:
        return lambda: import_image(site, olga, name, source, sha256, image_format, no_progress)

    refused(site, ask("promised", "0" * 64, "raw"), StrongroomError, 7)
    refused(site, ask("promised", "short", "raw"), BadInput, 2)
    refused(site, ask("promised", None, "vmdk"), BadInput, 2)
    refused(site, ask("promised", None, "qcow2"), BadInput, 2)
    refused(site, ask("Odd Name", None, "raw"), BadInput, 2)
    refused(site, ask(IMAGE, None, "raw"), Conflict, 5)
    source.unlink()
    refused(site, ask("promised", None, "raw"), StrongroomError, 10)


def test_questions_to_the_log_that_cannot_be_read_are_refused_unrecorded(
    site: Site, prepared: PreparedSite
) -> None:
    anna = prepared.caller("anna-auditor")
    since = site.log.head().size
    for filters in ({"kind": "rumour"}, {"since": "yesterday"}, {"until": "2026-01-01"}, {"colour": "red"}):
        refused(site, lambda asked=filters: list_records(site, anna, asked), BadInput, 2)  # type: ignore[misc] # bound now
    assert site.log.head().size == since
    with pytest.raises(StrongroomError) as answer:
        list_records(site, anna, {}, token="not a token")
    assert answer.value.exit_code == 2


def test_a_report_on_no_framework_or_no_period_is_refused(site: Site, olga: Caller) -> None:
    begin, end = (records(site)[0].time(), records(site)[-1].time())
    refused(site, lambda: create_report(site, olga, "gdpr", begin, end, no_progress), BadInput, 2)
    refused(site, lambda: create_report(site, olga, "hipaa", end, begin, no_progress), BadInput, 2)


def test_nothing_that_was_refused_broke_the_log(site: Site) -> None:
    require_log_holds(site)
    assert told(site, 0, action=Action.GUEST_CREATE)


@pytest.mark.parametrize(
    ("folder_mode", "file_mode"), [(0o700, 0o644), (0o711, 0o600)], ids=["folder", "file"]
)
def test_an_image_that_only_root_may_read_is_not_read_for_an_operator(
    site: Site, prepared: PreparedSite, folder_mode: int, file_mode: int
) -> None:
    folder = prepared.settings.data_dir / f"private-{folder_mode:o}-{file_mode:o}"
    folder.mkdir()
    folder.chmod(folder_mode)
    source = folder / "backup-of-root.raw"
    write_bootable_image(source)
    source.chmod(file_mode)
    try:
        with pytest.raises(BadInput, match="every user of this host may read"):
            import_image(site, prepared.caller(OPERATOR), "stolen", source, None, "raw", no_progress)
        assert [image.name for image in site.images.all() if image.name == "stolen"] == []
    finally:
        source.unlink()
        folder.rmdir()
