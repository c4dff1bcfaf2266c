"""The daemon killed with SIGKILL between intent and effect, inside the effect, and between effect and outcome.

Each case is a daemon of its own: it opens the site, settling what the one before left, acts, and is killed at its
point. The next opening must settle the intent with the right code, and leave no half-made guest, disk, key or secret.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from audit.log.query import LogQuery
from audit.log.record import Draft, Kind, Record
from audit.verify import verify_store
from policies.vocabulary import Action
from tests.crash.host_on_file import HostOnFile
from tests.fakes.guest_host import FakeGuestHost
from tests.sites import (
    ADMINISTRATOR,
    OPERATOR,
    PASSWORD,
    PreparedSite,
    disk_folder,
    guest_row,
    key_states,
    make_guest,
    new_guest,
    open_findings,
    prepared_site,
    records,
    write_bootable_image,
)
from tests.small_guest import cache_dir
from vault.config import Settings
from vault.disks.erase import erase_disk
from vault.disks.format import DiskFormatter
from vault.entities import guest_ref
from vault.gate import Caller
from vault.jobs import no_progress
from vault.model import Account, Disk, Guest, GuestState, Job, JobState
from vault.operations import guest_delete
from vault.operations.accounts import create_account
from vault.operations.guest_create import create_guest
from vault.operations.guest_inside import exec_in_guest
from vault.operations.guest_run import start_guest, stop_guest
from vault.operations.images import import_image
from vault.operations.keystore import seal
from vault.site import Site

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
GUEST = "victim"
ROLLED_BACK = "recovery.rolled_back"


# -- the daemon that dies --------------------------------------------------------------------------


def die(*_arguments: object, **_named: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly:
    """A part of the site around whose method the daemon is killed."""

    def __init__(self, part: object, method: str, *, after: bool, nth: int = 1) -> None:
        self._part, self._method, self._after, self._left = part, method, after, nth

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the part has
        found = getattr(self._part, name)
        if name != self._method:
            return found

        def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - passed on
            self._left -= 1
            if self._left == 0 and not self._after:
                die()
            answer = found(*arguments, **named)
            if self._left == 0:
                die()
            return answer

        return call


class DeadlyLog:
    """The real log, at whose outcome of an action the daemon is killed."""

    def __init__(self, log: Any, action: Action, *, after: bool) -> None:  # noqa: ANN401 - the gate's own port
        self._log, self._action, self._after = log, action, after

    def append(self, draft: Draft, timeout_s: float = 5.0) -> Record:
        ours = draft.kind is Kind.OUTCOME and draft.action == self._action
        if ours and not self._after:
            die()
        record: Record = self._log.append(draft, timeout_s)
        if ours:
            die()
        return record


def deadly(part: Any, method: str, *, after: bool, nth: int = 1) -> Any:  # noqa: ANN401 - takes the part's place
    return Deadly(part, method, after=after, nth=nth)


def die_at_outcome(site: Site, action: Action, *, after: bool = False) -> None:
    site.gate._log = DeadlyLog(site.log, action, after=after)


def die_in_qemu_img(site: Site, when: str) -> None:
    """Be killed by the very program that works on the disk: when it is called with these words."""
    script = site.settings.data_dir / "deadly-qemu-img"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in {when}) kill -9 $PPID;; esac\nexec qemu-img "$@"\n', encoding="utf-8"
    )
    script.chmod(0o755)
    templates = site.settings.cache_dir / "templates"
    site.disks = DiskFormatter(templates, site.memory, qemu_img=str(script))


Arm = Callable[[Site], None]


def _keys(method: str, *, after: bool, nth: int = 1) -> Arm:
    def arm(site: Site) -> None:
        site.keys = deadly(site.keys, method, after=after, nth=nth)

    return arm


def _disks(method: str, *, after: bool) -> Arm:
    def arm(site: Site) -> None:
        site.disks = deadly(site.disks, method, after=after)

    return arm


def _images(method: str) -> Arm:
    def arm(site: Site) -> None:
        site.images = deadly(site.images, method, after=False)

    return arm


def _outcome(action: Action, *, after: bool = False) -> Arm:
    return lambda site: die_at_outcome(site, action, after=after)


def _qemu_img(when: str) -> Arm:
    return lambda site: die_in_qemu_img(site, when)


#: Points of a creation at which nothing of the guest may be left.
CREATE: dict[str, Arm] = {
    "after the intent": _images("get"),
    "after the row": _keys("create_key", after=False),
    "after the key": _keys("create_key", after=True),
    "while the disk is a part": _qemu_img("resize*"),
    "after the empty disk": _disks("create_encrypted_disk", after=True),
    "while the image is written": _qemu_img(r"convert*-f\ qcow2\ *"),
    "after the disk": _disks("write_image_into", after=True),
    "after the seed's key": _keys("create_key", after=True, nth=2),
    "while the seed is in the clear": _qemu_img(r"convert*-f\ raw\ *"),
    "after the seed, before the guest is ready": _disks("write_seed", after=True),
}
START_HALF = ("define", "create", "compare")
START_DONE = ("resume", "mark")
#: Points of a deletion from which it is finished.
DELETE: dict[str, Arm] = {
    "after the first key was destroyed": _keys("destroy_key", after=True),
    "after all keys were destroyed": _keys("destroy_key", after=True, nth=2),
    "before the outcome": _outcome(Action.GUEST_DELETE),
}


def live_and_die(case: str, settings_of: Path, people: dict[str, str]) -> None:
    """Be the daemon of one case."""
    what, _, point = case.partition(": ")
    prepared = prepared_again(settings_of, people)
    olga = prepared.caller(OPERATOR)
    die_at = point if what in {"start", "stop"} else None
    host = HostOnFile(host_file(prepared), die_at=die_at if what == "start" else None)
    with prepared.opened(host) as site:
        if what not in {"create", "account", "import"}:
            make_guest(site, olga, GUEST)
        if what in {"stop", "exec"}:
            start_guest(site, olga, GUEST, no_progress)
        job_of(site, case)
        ACTS[what](site, prepared, olga, host, point)
    raise AssertionError(f"{case}: the daemon was to be killed")


def job_of(site: Site, case: str) -> None:
    """A job that runs, as the daemon would have one for this."""
    with site.database.session() as session:
        session.add(Job(account_id="-", action="test", subject=case, state=JobState.RUNNING))


def _create(site: Site, _prepared: PreparedSite, olga: Caller, _host: HostOnFile, point: str) -> None:
    if point == "before the outcome":
        die_at_outcome(site, Action.GUEST_CREATE)
    elif point == "after the outcome":
        die_at_outcome(site, Action.GUEST_CREATE, after=True)
    else:
        CREATE[point](site)
    create_guest(site, olga, new_guest(GUEST), no_progress)


def _start(site: Site, _prepared: PreparedSite, olga: Caller, _host: HostOnFile, point: str) -> None:
    if point == "after the intent":
        site.keys = deadly(site.keys, "unwrap_key", after=False)
    elif point == "before the outcome":
        die_at_outcome(site, Action.GUEST_START)
    start_guest(site, olga, GUEST, no_progress)


def _stop(site: Site, _prepared: PreparedSite, olga: Caller, host: HostOnFile, point: str) -> None:
    if point == "after the intent":
        site.host = deadly(site.host, "stop", after=False)
    elif point in {"before the outcome", "before the outcome, with a destroyed disk"}:
        die_at_outcome(site, Action.GUEST_STOP)
    else:
        host._die_at = point
    for disk in (site.settings.data_dir / "disks").glob("*/*.qcow2"):
        os.chown(disk, 0, 0)  # as libvirt does with the files of a guest that ended
        if point.endswith("destroyed disk"):
            disk.write_bytes(disk.read_bytes().replace(b"LUKS\xba\xbe", b"gone\0\0"))
    stop_guest(site, olga, GUEST, timeout_s=1, progress=no_progress)


def _delete(site: Site, _prepared: PreparedSite, olga: Caller, _host: HostOnFile, point: str) -> None:
    if point == "after the intent":
        site.host = deadly(site.host, "is_running", after=False)
    elif point == "after a header was erased":
        # The one part that no constructor takes; this process is killed in the next moment anyway.
        vars(guest_delete)["erase_disk"] = lambda *given: die(erase_disk(*given))
    else:
        DELETE[point](site)
    guest_delete.delete_guest(site, olga, GUEST)


def _exec(site: Site, _prepared: PreparedSite, olga: Caller, _host: HostOnFile, _point: str) -> None:
    die_at_outcome(site, Action.GUEST_EXEC)
    exec_in_guest(site, olga, GUEST, ["/bin/true"], b"")


def _seal(site: Site, prepared: PreparedSite, _olga: Caller, _host: HostOnFile, _point: str) -> None:
    die_at_outcome(site, Action.KEYSTORE_SEAL)
    seal(site, prepared.caller(ADMINISTRATOR))


def _account(site: Site, prepared: PreparedSite, _olga: Caller, _host: HostOnFile, point: str) -> None:
    if point == "after the key":
        site.keys = deadly(site.keys, "wrap_person_key", after=True)
    else:
        die_at_outcome(site, Action.ACCOUNT_CREATE)
    create_account(site, prepared.caller(ADMINISTRATOR), f"pat-{point[:3]}", PASSWORD, ["operator"])


def _import(site: Site, prepared: PreparedSite, olga: Caller, _host: HostOnFile, _point: str) -> None:
    def progress(percent: int, sentence: str) -> None:
        if percent >= 90:
            die(sentence)

    source = prepared.settings.data_dir / "source.raw"
    write_bootable_image(source)
    import_image(site, olga, "half", source, None, "raw", progress)


ACTS: dict[str, Callable[[Site, PreparedSite, Caller, HostOnFile, str], None]] = {
    "create": _create,
    "start": _start,
    "stop": _stop,
    "delete": _delete,
    "exec": _exec,
    "seal": _seal,
    "account": _account,
    "import": _import,
}


# -- what the next daemon finds --------------------------------------------------------------------


def host_file(prepared: PreparedSite) -> Path:
    return prepared.settings.data_dir / "hypervisor.json"


def prepared_again(data_dir: Path, people: dict[str, str]) -> PreparedSite:
    settings = replace(Settings(), data_dir=data_dir, cache_dir=cache_dir(), accelerator="tcg")
    return PreparedSite(settings, people)


@pytest.fixture(scope="module")
def prepared() -> Iterator[PreparedSite]:
    with prepared_site(FakeGuestHost()) as made:
        yield made


class Aftermath:
    """The site after a kill, open again."""

    def __init__(self, site: Site, intent: Record, outcome: Record, host: HostOnFile) -> None:
        self.site, self.intent, self.outcome, self.host = site, intent, outcome, host

    @property
    def guest_id(self) -> str:
        return self.intent.resource.partition(":")[2]

    def settled_as(self) -> str:
        """The code of the recovered outcome."""
        assert self.outcome.result is not None
        facts = self.outcome.result["facts"]
        assert isinstance(facts, dict)
        assert facts["recovered"] is True
        assert self.outcome.intent == self.intent.id
        return str(self.outcome.result["code"])

    def require_no_guest(self) -> None:
        """Nothing of the guest is left, and its name is free."""
        assert guest_row(self.site, self.guest_id) is None
        with self.site.database.session() as session:
            assert session.exec(select(Disk).where(Disk.guest_id == self.guest_id)).all() == []
        assert not disk_folder(self.site, self.guest_id).exists()
        assert set(key_states(self.site, guest_ref(self.guest_id))) <= {"destroyed"}

    def require_whole_guest(self) -> None:
        """The guest is as if nothing had happened."""
        row = guest_row(self.site, self.guest_id)
        assert row is not None
        assert row.state == GuestState.READY
        names = sorted(path.name for path in disk_folder(self.site, self.guest_id).iterdir())
        assert names == ["root.qcow2", "seed.qcow2"]
        assert key_states(self.site, guest_ref(self.guest_id)) == ["active", "active"]


class Nursery:
    """A process that has loaded everything, and forks a daemon for each case: one that is killed is soon replaced."""

    def __init__(self, prepared: PreparedSite, module: str = "tests.crash.test_operations_kills") -> None:
        self._log = prepared.settings.log_db
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", module),
                *(str(prepared.settings.data_dir), json.dumps(prepared.people)),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def kill(self, case: str) -> int:
        """Let a daemon die in a case; the number of the first record it wrote."""
        with LogQuery(self._log) as log:
            since = log.size()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{case}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == f"{-signal.SIGKILL}\n", "the daemon was to be killed"
        return since

    def close(self) -> None:
        self._process.communicate(timeout=30)


def raise_daemons(
    data_dir: Path,
    people: dict[str, str],
    live: Callable[[str, Path, dict[str, str]], None] = live_and_die,
) -> None:
    """Be the nursery: no thread runs in it, so that forking is safe."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            live(line.rstrip("\n"), data_dir, people)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())


@pytest.fixture(scope="module")
def nursery(prepared: PreparedSite) -> Iterator[Nursery]:
    made = Nursery(prepared)
    yield made
    made.close()


@pytest.fixture
def aftermath(prepared: PreparedSite, nursery: Nursery, case: str, action: Action) -> Iterator[Aftermath]:
    """The site after the kill that the test's `case` names; cleaned of its guest in the end."""
    since = nursery.kill(case)
    require_half_made(prepared, case)
    host = HostOnFile(host_file(prepared))
    with prepared.opened(host, unsealed=False) as site:
        written = [record for record in records(site, since) if record.action == action]
        *_, intent, outcome = written
        assert (intent.kind, outcome.kind) == (Kind.INTENT, Kind.OUTCOME)
        yield Aftermath(site, intent, outcome, host)
        require_sound(site, case)
        clean_up(site, prepared.caller(OPERATOR), host)


def require_half_made(prepared: PreparedSite, case: str) -> None:
    """That the kill really left something to settle, where it can be seen from outside."""
    settings = prepared.settings
    with LogQuery(settings.log_db) as log:
        is_open = log.by_seq(log.size() - 1).kind is Kind.INTENT
    assert is_open != (case == "create: after the outcome")
    known = HostOnFile(host_file(prepared))
    disks = {path.name.partition(".")[0] for path in (settings.data_dir / "disks").glob("*/*.qcow2")}
    parts = [path.name for path in (settings.data_dir / "disks").glob("*/*.part")]
    match case:
        case "create: while the disk is a part" | "create: while the image is written":
            assert (disks, [name.partition(".")[0] for name in parts]) == (set(), ["root"])
        case "create: after the disk":
            assert (disks, parts) == ({"root"}, [])
        case "create: while the seed is in the clear":
            (plain,) = settings.memory_dir.iterdir()
            assert b"cloud-config" in plain.read_bytes()
        case "create: after the seed, before the guest is ready":
            assert (disks, parts) == ({"root", "seed"}, [])
        case "start: define" | "start: create":
            assert known.secrets
        case "start: compare":
            assert [domain.paused for domain in known.domains.values()] == [True]
        case "delete: after a header was erased":
            assert disks == {"seed"}
        case "import: while it is copied":
            assert list((settings.data_dir / "images").glob("*.part"))


def require_sound(site: Site, case: str) -> None:
    """What holds after every kill."""
    assert verify_store(site.settings.log_db).holds
    assert site.log.open_intents() == []
    assert list(site.settings.memory_dir.iterdir()) == [], "nothing secret is left in files"
    assert list(site.settings.data_dir.rglob("*.part")) == []
    assert open_findings(site) == set()
    assert isinstance(site.host, HostOnFile)
    assert site.host.secrets == {}, "libvirt knows no secret of ours"
    assert not [domain for domain in site.host.domains.values() if domain.paused]
    with site.database.session() as session:
        (job,) = session.exec(select(Job).where(Job.subject == case))
    assert (job.state, (job.error or {})["code"]) == (JobState.FAILED, "job.interrupted")
    assert site.gate.stopped_by is None


def clean_up(site: Site, olga: Caller, host: HostOnFile) -> None:
    with site.database.session() as session:
        names = list(session.exec(select(Guest.name).where(Guest.state != GuestState.DELETED)))
    for name in names:
        for guest_id in list(host.domains):
            host.end(guest_id, "shutdown")
        guest_delete.delete_guest(site, olga, name)


# -- create ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [Action.GUEST_CREATE])
@pytest.mark.parametrize("case", [f"create: {point}" for point in CREATE])
def test_a_creation_killed_on_its_way_is_taken_back_whole(aftermath: Aftermath) -> None:
    assert aftermath.settled_as() == ROLLED_BACK
    aftermath.require_no_guest()
    assert list((aftermath.site.settings.data_dir / "disks").iterdir()) == []


@pytest.mark.parametrize("action", [Action.GUEST_CREATE])
@pytest.mark.parametrize("case", ["create: before the outcome"])
def test_a_creation_killed_before_its_outcome_was_done(aftermath: Aftermath) -> None:
    assert aftermath.settled_as() == "ok"
    aftermath.require_whole_guest()


@pytest.mark.parametrize("action", [Action.GUEST_CREATE])
@pytest.mark.parametrize("case", ["create: after the outcome"])
def test_what_had_its_outcome_is_not_settled_again(aftermath: Aftermath) -> None:
    assert aftermath.outcome.result is not None
    facts = aftermath.outcome.result["facts"]
    assert isinstance(facts, dict)
    assert "recovered" not in facts
    aftermath.require_whole_guest()


# -- start, stop -------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [Action.GUEST_START])
@pytest.mark.parametrize("case", [f"start: {point}" for point in ("after the intent", *START_HALF)])
def test_a_start_killed_before_the_guest_ran_is_undone(aftermath: Aftermath) -> None:
    assert aftermath.settled_as() == ROLLED_BACK
    assert aftermath.host.domains == {}
    aftermath.require_whole_guest()


@pytest.mark.parametrize("action", [Action.GUEST_START])
@pytest.mark.parametrize("case", [f"start: {point}" for point in (*START_DONE, "before the outcome")])
def test_a_start_killed_once_the_guest_ran_was_done_and_the_guest_runs_on(aftermath: Aftermath) -> None:
    assert aftermath.settled_as() == "ok"
    assert aftermath.host.is_running(aftermath.guest_id)
    aftermath.require_whole_guest()
    row = guest_row(aftermath.site, aftermath.guest_id)
    assert row is not None
    assert row.started_at is not None


@pytest.mark.parametrize("action", [Action.GUEST_STOP])
@pytest.mark.parametrize("case", ["stop: after the intent"])
def test_a_stop_killed_before_it_reached_the_guest_leaves_it_running(aftermath: Aftermath) -> None:
    assert aftermath.settled_as() == ROLLED_BACK
    assert aftermath.host.is_running(aftermath.guest_id)
    aftermath.require_whole_guest()


@pytest.mark.parametrize("action", [Action.GUEST_STOP])
@pytest.mark.parametrize("case", ["stop: stopped", "stop: before the outcome"])
def test_a_stop_killed_after_the_guest_ended_was_done_and_its_disks_were_looked_at(
    aftermath: Aftermath,
) -> None:
    assert aftermath.settled_as() == "ok"
    assert aftermath.host.domains == {}
    aftermath.require_whole_guest()
    row = guest_row(aftermath.site, aftermath.guest_id)
    assert row is not None
    assert {disk.stat().st_uid for disk in disk_folder(aftermath.site, row.id).iterdir()} == {row.uid}


@pytest.mark.parametrize("action", [Action.GUEST_STOP])
@pytest.mark.parametrize("case", ["stop: before the outcome, with a destroyed disk"])
def test_a_destroyed_disk_does_not_keep_the_site_from_opening(aftermath: Aftermath) -> None:
    assert aftermath.settled_as() == "ok"
    found = {f"guest:{aftermath.guest_id}/{role}" for role in ("root", "seed")}
    assert open_findings(aftermath.site) == {("disk.unreadable", resource) for resource in found}
    for resource in found:
        aftermath.site.findings.close("disk.unreadable", resource)


# -- delete --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [Action.GUEST_DELETE])
@pytest.mark.parametrize("case", ["delete: after the intent"])
def test_a_deletion_killed_before_it_began_leaves_the_guest(aftermath: Aftermath) -> None:
    assert aftermath.settled_as() == ROLLED_BACK
    aftermath.require_whole_guest()


@pytest.mark.parametrize("action", [Action.GUEST_DELETE])
@pytest.mark.parametrize("case", [f"delete: {point}" for point in (*DELETE, "after a header was erased")])
def test_a_deletion_that_began_is_finished(aftermath: Aftermath) -> None:
    assert aftermath.settled_as() == "ok"
    row = guest_row(aftermath.site, aftermath.guest_id)
    assert row is not None
    assert row.state == GuestState.DELETED
    assert not disk_folder(aftermath.site, aftermath.guest_id).exists()
    assert key_states(aftermath.site, guest_ref(aftermath.guest_id)) == ["destroyed", "destroyed"]


# -- what else may be under way --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "action"),
    [("exec: before the outcome", Action.GUEST_EXEC), ("seal: before the outcome", Action.KEYSTORE_SEAL)],
)
def test_what_cannot_be_found_out_afterwards_is_said_to_be_unknown(aftermath: Aftermath) -> None:
    assert aftermath.settled_as() == "recovery.unknown"


@pytest.mark.parametrize("action", [Action.ACCOUNT_CREATE])
@pytest.mark.parametrize(
    ("case", "code"), [("account: after the key", ROLLED_BACK), ("account: before the outcome", "ok")]
)
def test_an_account_is_there_or_not_and_the_outcome_says_which(aftermath: Aftermath, code: str) -> None:
    assert aftermath.settled_as() == code
    with aftermath.site.database.session() as session:
        assert (session.get(Account, aftermath.guest_id) is not None) == (code == "ok")


@pytest.mark.parametrize("action", [Action.IMAGE_IMPORT])
@pytest.mark.parametrize("case", ["import: while it is copied"])
def test_an_import_killed_on_its_way_leaves_no_image(aftermath: Aftermath) -> None:
    assert aftermath.settled_as() == ROLLED_BACK
    assert [image.name for image in aftermath.site.images.all()] == ["waits"]
    assert len(list((aftermath.site.settings.data_dir / "images").iterdir())) == 1


if __name__ == "__main__":
    raise_daemons(Path(sys.argv[1]), json.loads(sys.argv[2]))
