"""The contract of `GuestHost`, over the fake and over libvirt with real guests."""

from collections.abc import Iterator

import pytest

from policies.vocabulary import Action, EntityRef, EntityType
from tests.contract.guest_hosts import WRONG_PASSPHRASE, FakeWorld, World, libvirt_world, wait_until
from tests.fakes.permits import closed, permit_for
from vault.errors import (
    Conflict,
    HostFailure,
    HostUnprotected,
    KeyUnavailable,
    NotFound,
    PermitRefused,
)
from vault.guests.ports import DomainEvent, EventKind

SOMEBODY_ELSES = EntityRef(EntityType.GUEST, "00000000-0000-4000-8000-000000000000")


@pytest.fixture(params=["fake", pytest.param("libvirt", marks=pytest.mark.real)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    with libvirt_world() as real:
        yield real


def test_a_started_guest_runs_and_a_stopped_one_does_not(world: World) -> None:
    guest = world.make_guest()
    assert not world.host.is_running(guest.ref.id)
    guest.start(world.host)
    assert world.host.is_running(guest.ref.id)
    assert [active.name for active in world.host.list_active()] == [guest.plan.name]
    assert world.host.stats(guest.ref.id).vcpus == 1
    assert guest.stop(world.host), "its power was cut"
    assert not world.host.is_running(guest.ref.id)
    assert world.host.list_active() == []
    assert world.domains() == []


def test_no_secret_is_defined_while_a_guest_runs(world: World) -> None:
    guest = world.make_guest()
    guest.start(world.host)
    assert world.host.is_running(guest.ref.id)
    assert world.secrets_defined() == 0


def test_a_wrong_passphrase_opens_nothing_and_leaves_nothing(world: World) -> None:
    guest = world.make_guest()
    with pytest.raises(KeyUnavailable):
        guest.start(world.host, WRONG_PASSPHRASE)
    assert world.domains() == []
    assert world.secrets_defined() == 0
    guest.start(world.host)
    assert world.host.is_running(guest.ref.id), "the right one still opens it"


def test_a_guest_that_runs_is_not_started_again(world: World) -> None:
    guest = world.make_guest()
    guest.start(world.host)
    with pytest.raises(Conflict):
        guest.start(world.host)
    assert world.host.is_running(guest.ref.id), "and goes on running"


def test_a_guest_that_shuts_down_keeps_what_it_wrote(world: World) -> None:
    guest = world.make_guest()
    guest.start(world.host)
    world.wait_ready(guest)
    ref, name = guest.ref, guest.plan.name
    world.host.write_file(permit_for(Action.GUEST_COPY_IN, ref), ref, name, "/root/note", b"kept", 0o600)
    assert not guest.stop(world.host, 60, force=False), "it shut down by itself"
    assert world.domains() == []
    guest.start(world.host)
    world.wait_ready(guest)
    read = world.host.read_file(permit_for(Action.GUEST_COPY_OUT, ref), ref, name, "/root/note", 100)
    assert read == b"kept"


def test_a_guest_that_does_not_listen_runs_on_unless_its_power_may_be_cut(world: World) -> None:
    guest = world.make_guest()
    world.make_guests_deaf()
    guest.start(world.host)
    with pytest.raises(Conflict, match="did not shut down"):
        guest.stop(world.host, 0.1, force=False)
    assert world.host.is_running(guest.ref.id)
    assert guest.stop(world.host, 0.1, force=True)
    assert world.domains() == []


def test_a_guest_that_does_not_run_is_not_stopped(world: World) -> None:
    guest = world.make_guest()
    with pytest.raises(Conflict, match="does not run"):
        guest.stop(world.host)
    with pytest.raises(NotFound):
        world.host.stats(guest.ref.id)
    assert not world.host.agent_answers(guest.plan.name)


def test_commands_and_files_go_in_and_come_out_whole(world: World) -> None:
    guest = world.make_guest()
    guest.start(world.host)
    world.wait_ready(guest)
    ref, name = guest.ref, guest.plan.name
    run, put, get = (
        permit_for(a, ref) for a in (Action.GUEST_EXEC, Action.GUEST_COPY_IN, Action.GUEST_COPY_OUT)
    )
    assert world.host.execute(run, ref, name, ["/bin/cat"], b"by input", 10).stdout == b"by input"
    assert world.host.execute(run, ref, name, ["/bin/false"], b"", 10).exit_code == 1
    assert world.host.execute(run, ref, name, ["/bin/no-such"], b"", 10).exit_code == 127
    with pytest.raises(HostFailure, match="did not end"):
        world.host.execute(run, ref, name, ["/bin/sleep", "60"], b"", 1)
    content = bytes(range(256)) * 500
    world.host.write_file(put, ref, name, "/root/all-bytes", content, 0o600)
    assert world.host.read_file(get, ref, name, "/root/all-bytes", len(content)) == content
    with pytest.raises(NotFound):
        world.host.read_file(get, ref, name, "/root/nothing", 100)


@pytest.mark.parametrize("step", ["define", "create"])
def test_a_daemon_killed_in_a_start_leaves_neither_secret_nor_domain(world: World, step: str) -> None:
    guest = world.make_guest()
    world.kill_a_daemon_in_a_start(guest, step)
    assert world.secrets_defined() == 0
    assert world.domains() == []
    guest.start(world.host)
    assert world.host.is_running(guest.ref.id), "and the guest can be started"


def test_nothing_is_started_where_keys_would_reach_a_disk(world: World) -> None:
    guest = world.make_guest()
    with pytest.raises(HostUnprotected) as refused:
        guest.start(world.unprotected())
    assert "doctor --fix" in refused.value.hint
    assert world.domains() == []
    assert world.secrets_defined() == 0


def test_without_libvirt_the_sentence_says_so_and_what_to_do(world: World) -> None:
    guest = world.make_guest()
    host = world.unreachable()
    for attempt in (lambda: guest.start(host), lambda: guest.stop(host), host.list_active):
        with pytest.raises(HostFailure, match="does not answer") as failed:
            attempt()
        assert "Start it" in failed.value.hint
    assert host.versions().libvirt == "unknown"
    host.close()


def test_a_permit_for_something_else_does_nothing(world: World) -> None:
    guest = world.make_guest()
    ref, plan = guest.ref, guest.plan
    wrong = (
        permit_for(Action.GUEST_STOP, ref),
        permit_for(Action.GUEST_START, SOMEBODY_ELSES),
        closed(permit_for(Action.GUEST_START, ref)),
    )
    for permit in wrong:
        with pytest.raises(PermitRefused):
            world.host.start(permit, ref, plan, {})
    permit = permit_for(Action.GUEST_START, ref)
    with pytest.raises(PermitRefused):
        world.host.stop(permit, ref, plan.name, timeout_s=0, force=True, waiting=lambda _s: None)
    with pytest.raises(PermitRefused):
        world.host.execute(permit, ref, plan.name, ["/bin/true"], b"", 1)
    with pytest.raises(PermitRefused):
        world.host.write_file(permit, ref, plan.name, "/x", b"", 0o600)
    with pytest.raises(PermitRefused):
        world.host.read_file(permit, ref, plan.name, "/x", 1)
    with pytest.raises(PermitRefused):
        world.host.abandon(permit_for(Action.GUEST_EXEC, ref), ref)
    assert world.domains() == []


def test_a_guest_that_runs_is_not_abandoned(world: World) -> None:
    guest = world.make_guest()
    guest.start(world.host)
    assert not guest.abandon(world.host)
    assert world.host.is_running(guest.ref.id)


def test_what_happens_to_a_guest_is_told(world: World) -> None:
    told: list[DomainEvent] = []
    world.host.watch(told.append)
    guest = world.make_guest()
    guest.start(world.host)
    guest.stop(world.host)

    def ours(kind: EventKind) -> list[DomainEvent]:
        return [event for event in told if event.name == guest.plan.name and event.kind is kind]

    wait_until(lambda: bool(ours(EventKind.STOPPED)), "the end was told", 10)
    (started,), (stopped,) = ours(EventKind.STARTED), ours(EventKind.STOPPED)
    assert started.guest_id == stopped.guest_id == guest.ref.id
    assert started.uses_our_disks == (str(guest.plan.disks[0].path),)
    assert stopped.detail == "destroyed"
