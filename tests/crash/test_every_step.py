"""The daemon killed at every step of create, start, stop and delete. The steps are counted, not listed by hand.

A step is each moment at which something has just become, or is about to become, different for the next daemon: a
function with an effect is entered (each takes a permit), a file or folder changes its name or goes, a program is
started, the state is committed, a record is appended, the hypervisor takes a step. One run without a kill counts
them; then a daemon is killed at the first, the next at the second, until none is left. Each daemon first opens the
site as the one before left it, and looks at what became of that.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import sqlalchemy.event
from sqlmodel import Session, select

from audit.log.record import Draft, Kind, Record
from audit.verify import verify_store
from policies.vocabulary import Action, EntityRef
from tests.crash.host_on_file import HostOnFile
from tests.crash.test_operations_kills import host_file, prepared_again
from tests.fakes.guest_host import FakeGuestHost
from tests.sites import (
    OPERATOR,
    PreparedSite,
    disk_folder,
    key_states,
    make_guest,
    new_guest,
    open_findings,
    prepared_site,
    records,
)
from vault.entities import guest_ref
from vault.gate import Caller
from vault.jobs import no_progress
from vault.model import Guest, GuestState
from vault.operations.guest_create import create_guest
from vault.operations.guest_delete import delete_guest
from vault.operations.guest_run import start_guest, stop_guest
from vault.permit import Permit
from vault.site import Site

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
GUEST = "victim"
#: Events of the interpreter (sys.audit) that change what the next daemon finds.
CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "subprocess.Popen"})
ACTIONS = {
    "create": Action.GUEST_CREATE,
    "start": Action.GUEST_START,
    "stop": Action.GUEST_STOP,
    "delete": Action.GUEST_DELETE,
}
ROLLED_BACK = "recovery.rolled_back"


# -- the daemon that counts its steps, and dies at one ----------------------------------------------


class Steps:
    """Counts the steps of the thread that acts, and kills the process at one of them."""

    def __init__(self, die_at: int | None) -> None:
        self.names: list[str] = []
        self._die_at = die_at
        self._thread: int | None = None
        self._inside = False

    def step(self, name: str) -> None:
        if threading.get_ident() != self._thread or self._inside:
            return
        self.names.append(name)
        if len(self.names) == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            self._thread = None

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """The hypervisor's own file is no part of the site."""
        self._inside = True
        try:
            yield
        finally:
            self._inside = False

    def watch(self, site: Site) -> None:
        """Be told of everything. This process is killed or ends soon, so nothing is put back."""
        sys.addaudithook(lambda event, _given: self.step(event) if event in CHANGES else None)
        sqlalchemy.event.listen(Session, "after_flush", self._flushed)
        sqlalchemy.event.listen(Session, "after_commit", self._committed)
        site.gate._log = CountedLog(site.log, self)
        require = Permit.require

        def counted_require(permit: Permit, resource: EntityRef, *actions: Action) -> None:
            require(permit, resource, *actions)
            self.step(f"effect.{sys._getframe(1).f_code.co_name}")

        Permit.require = counted_require  # type: ignore[assignment]  # in a process that is about to die

    def _flushed(self, session: Session, _context: object) -> None:
        # Only what writes: a transaction that read leaves the next daemon nothing.
        session.info["wrote"] = True
        self.step("state.written")

    def _committed(self, session: Session) -> None:
        if session.info.pop("wrote", False):
            self.step("state.committed")


class CountedLog:
    """The real log; before and after each record is a step."""

    def __init__(self, log: Any, steps: Steps) -> None:  # noqa: ANN401 - the gate's own port
        self._log, self._steps = log, steps

    def append(self, draft: Draft, timeout_s: float = 5.0) -> Record:
        self._steps.step(f"log.append.{draft.kind}")
        record: Record = self._log.append(draft, timeout_s)
        self._steps.step(f"log.appended.{draft.kind}")
        return record


class CountedHost(HostOnFile):
    """The hypervisor that outlives the daemon; each of its steps is one of ours."""

    steps: Steps

    def _step(self, name: str) -> None:
        with self.steps.unseen():
            self._save()
        self.steps.step(f"host.{name}")
        FakeGuestHost._step(self, name)

    def end(self, guest_id: str, how: str) -> None:
        with self.steps.unseen():
            super().end(guest_id, how)
        self.steps.step("host.ended")


def live(what: str, die_at: int | None, prepared: PreparedSite) -> list[str]:
    """Be one daemon: open, look at what the one before left, act, and die at a step; the steps, when there is none."""
    steps = Steps(die_at)
    host = CountedHost(host_file(prepared))
    host.steps = steps
    olga = prepared.caller(OPERATOR)
    with prepared.opened(host, before_unseal=lambda site: look(site, host, ACTIONS[what])) as site:
        prepare(site, host, olga, what)
        steps.watch(site)
        with steps.counted():
            ACTS[what](site, olga)
        return steps.names


ACTS: dict[str, Callable[[Site, Caller], object]] = {
    "create": lambda site, olga: create_guest(site, olga, new_guest(GUEST), no_progress),
    "start": lambda site, olga: start_guest(site, olga, GUEST, no_progress),
    "stop": lambda site, olga: stop_guest(site, olga, GUEST, timeout_s=1, progress=no_progress),
    "delete": lambda site, olga: delete_guest(site, olga, GUEST),
}


def prepare(site: Site, host: HostOnFile, olga: Caller, what: str) -> None:
    """Bring the site to where the act begins."""
    with site.database.session() as session:
        there = session.exec(
            select(Guest).where(Guest.name == GUEST, Guest.state == GuestState.READY)
        ).first()
    if what == "create":
        if there is not None:
            delete_guest(site, olga, GUEST)
        return
    guest_id = there.id if there is not None else make_guest(site, olga, GUEST)
    if what == "stop" and not host.is_running(guest_id):
        start_guest(site, olga, GUEST, no_progress)
    elif what != "stop" and host.is_running(guest_id):
        # Through the gate, so that the newest act in the log is not the one that a kill keeps from its intent.
        stop_guest(site, olga, GUEST, timeout_s=1, progress=no_progress)


# -- what the next daemon finds -----------------------------------------------------------------------


def look(site: Site, host: HostOnFile, action: Action) -> None:
    """What holds after every kill, and that the outcome says what is."""
    assert host.secrets == {}
    assert not [domain for domain in host.domains.values() if domain.paused]
    look_at_site(site, action)


def look_at_site(site: Site, action: Action) -> None:
    """The same, whatever the hypervisor is."""
    assert verify_store(site.settings.log_db).holds
    assert site.log.open_intents() == []
    assert list(site.settings.memory_dir.iterdir()) == [], "nothing secret is left in files"
    assert list(site.settings.data_dir.rglob("*.part")) == []
    assert open_findings(site) == set()
    acts = [record for record in records(site) if record.action in ACTIONS.values()]
    if not acts or acts[-1].action != action:
        return  # the first of its kind: there was no kill yet
    *_, intent, outcome = acts
    assert (intent.kind, outcome.kind, outcome.intent) == (Kind.INTENT, Kind.OUTCOME, intent.id)
    assert outcome.result is not None
    code = str(outcome.result["code"])
    assert code in {"ok", ROLLED_BACK}
    require_as_recorded(site, action, intent.resource.partition(":")[2], done=code == "ok")


def require_as_recorded(site: Site, action: Action, guest_id: str, *, done: bool) -> None:
    with site.database.session() as session:
        guest = session.get(Guest, guest_id)
    keys = set(key_states(site, guest_ref(guest_id)))
    folder = disk_folder(site, guest_id)
    if action is Action.GUEST_CREATE and not done:
        assert guest is None
        assert not folder.exists()
        assert keys <= {"destroyed"}
    elif action is Action.GUEST_DELETE and done:
        assert guest is not None
        assert guest.state == GuestState.DELETED
        assert not folder.exists()
        assert keys == {"destroyed"}
    else:
        assert guest is not None
        assert guest.state == GuestState.READY
        assert sorted(path.name for path in folder.iterdir()) == ["root.qcow2", "seed.qcow2"]
        assert keys == {"active"}
        if action in {Action.GUEST_START, Action.GUEST_STOP}:
            assert site.host.is_running(guest_id) == (done == (action is Action.GUEST_START))


# -- the tests --------------------------------------------------------------------------------------------


#: Is one daemon: what it does, the step it dies at, the site; returns the steps it took.
Live = Callable[[str, int | None, PreparedSite], list[str]]


class Nursery:
    """A process that has loaded everything, and forks a daemon for each step."""

    def __init__(self, prepared: PreparedSite, module: str = "tests.crash.test_every_step") -> None:
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

    def live(self, what: str, die_at: int | None) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, die_at]) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with prepared_site(FakeGuestHost()) as prepared:
        made = Nursery(prepared)
        yield made
        made.close()


@pytest.mark.parametrize("what", list(ACTIONS))
def test_killed_at_any_step_the_next_daemon_finds_it_done_or_undone_as_its_outcome_says(
    nursery: Nursery, what: str
) -> None:
    counted = nursery.live(what, None)
    steps: list[str] = counted["steps"]
    assert {"log.append.intent", "log.appended.intent", "log.append.outcome", "log.appended.outcome"} <= set(
        steps
    )
    assert len(steps) >= 6, steps
    for nth, name in enumerate(steps, 1):
        answer = nursery.live(what, nth)
        assert answer["status"] == -signal.SIGKILL, f"at {nth} ({name}): {answer['said']}"
    after = nursery.live(what, None)
    assert after["status"] == 0, after["said"]
    assert after["steps"] == steps, "the steps are the same in each run, so none was left out"


def raise_daemons(prepared: PreparedSite, live: Live) -> None:
    """Be the nursery: no thread runs in it, so that forking is safe."""
    for line in sys.stdin:
        what, die_at = json.loads(line)
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_end)
            told: dict[str, Any] = {"said": "", "steps": []}
            status = 0
            try:
                told["steps"] = live(what, die_at, prepared)
            except BaseException:  # noqa: BLE001 - told to the test, whatever it was
                told["said"] = traceback.format_exc()
                status = 1
            os.write(write_end, json.dumps(told).encode())
            os._exit(status)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            said = pipe.read()
        _, ended = os.waitpid(child, 0)
        answer = json.loads(said) if said else {"said": "", "steps": []}
        os.write(1, (json.dumps(answer | {"status": os.waitstatus_to_exitcode(ended)}) + "\n").encode())


if __name__ == "__main__":
    raise_daemons(prepared_again(Path(sys.argv[1]), json.loads(sys.argv[2])), live)
