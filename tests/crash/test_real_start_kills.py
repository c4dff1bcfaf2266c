"""Starts on the real libvirt: the daemon killed at each call that changes something there, and QEMU killed.

The calls are counted in a start that succeeds: every method of libvirt's objects that does not merely read.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest
from sqlmodel import select

from policies.vocabulary import Action
from tests.contract.guest_hosts import wait_until
from tests.crash.test_every_step import GUEST, Nursery, Steps, look_at_site, raise_daemons
from tests.crash.test_operations_kills import prepared_again
from tests.fakes.guest_host import FakeGuestHost
from tests.sites import (
    ADMINISTRATOR,
    OPERATOR,
    PASSPHRASE,
    PreparedSite,
    make_guest,
    open_findings,
    prepared_site,
    records,
    require_log_holds,
)
from vault.jobs import no_progress
from vault.model import Guest, GuestState
from vault.operations.guest_delete import delete_guest
from vault.operations.guest_list import show_guest
from vault.operations.guest_run import start_guest, stop_guest
from vault.operations.keystore import unseal
from vault.site import Site
from vault.wiring import connect_libvirt, open_site

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
URI = "qemu:///system"
#: Methods that only read, or are about events and the connection itself. Every other one counts as a step.
_READS = re.compile(
    r"_|c_|list|lookup|get|is|num|XMLDesc|state|info|ID$|name$|UUID|metadata|maxM|connect$|domain|secretEvent|network"
    r"|register|deregister|unregister|setKeepAlive|close$|ref$|usage|value$|dispatch|virConnGet|nodeDevice|storagePool"
)


def changes() -> list[tuple[type, str]]:
    """Every method of libvirt's objects that may change something, by class."""
    classes = (libvirt.virConnect, libvirt.virDomain, libvirt.virSecret)
    return [
        (each, name)
        for each in classes
        for name in vars(each)
        if callable(getattr(each, name)) and not _READS.match(name)
    ]


def watch(steps: Steps) -> None:
    """Count libvirt calls before they are made; in a process that is about to die."""
    for each, name in changes():
        setattr(each, name, counted(getattr(each, name), name, steps))


def counted(method: Callable[..., Any], name: str, steps: Steps) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - passed on
        steps.step(f"libvirt.{name}")
        answer = method(*given, **named)
        if name in {"resume", "createXML"}:
            steps.step(f"libvirt.{name}.done")
        return answer

    return call


@contextlib.contextmanager
def opened(prepared: PreparedSite) -> Iterator[Site]:
    """The site on the real hypervisor."""
    site = open_site(prepared.settings, connect=connect_libvirt)
    try:
        yield site
    finally:
        site.close()


def live(_what: str, die_at: int | None, prepared: PreparedSite) -> list[str]:
    """Be one daemon: open, look at what the one before left, start the guest, and die at a step."""
    steps = Steps(die_at)
    olga = prepared.caller(OPERATOR)
    with opened(prepared) as site:
        assert ours(prepared) == ([], []), "no secret of ours is defined, no domain of ours is paused"
        look_at_site(site, Action.GUEST_START)
        unseal(site, prepared.caller(ADMINISTRATOR), bytearray(PASSPHRASE))
        with site.database.session() as session:
            guest = session.exec(select(Guest).where(Guest.state == GuestState.READY)).first()
        if guest is None:
            make_guest(site, olga, GUEST)
        elif site.host.is_running(guest.id):
            stop_guest(site, olga, GUEST, force=True, timeout_s=0, progress=no_progress)
        watch(steps)
        with steps.counted():
            start_guest(site, olga, GUEST, no_progress)
        return steps.names


def ours(prepared: PreparedSite) -> tuple[list[str], list[str]]:
    """Secrets and paused domains of this site that libvirt knows now."""
    with connected() as connection:
        mark = f" {prepared.settings.instance} "
        left = [secret.UUIDString() for secret in connection.listAllSecrets() if mark in secret.XMLDesc()]
        paused = [
            domain.name()
            for domain in domains_of(connection, prepared)
            if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED
        ]
    return left, paused


def domains_of(connection: "libvirt.virConnect", prepared: PreparedSite) -> list["libvirt.virDomain"]:
    found = []
    for domain in connection.listAllDomains():
        with contextlib.suppress(libvirt.libvirtError):  # it ended meanwhile
            if f'instance="{prepared.settings.instance}"' in domain.XMLDesc():
                found.append(domain)
    return found


@contextlib.contextmanager
def connected() -> Iterator["libvirt.virConnect"]:
    connection = libvirt.open(URI)
    try:
        yield connection
    finally:
        connection.close()


@pytest.fixture(scope="module")
def prepared() -> Iterator[PreparedSite]:
    with prepared_site(FakeGuestHost()) as made:
        try:
            yield made
        finally:
            with connected() as connection:
                for domain in domains_of(connection, made):
                    domain.destroy()


def test_a_start_killed_at_any_call_to_libvirt_leaves_no_secret_no_paused_guest_and_the_right_outcome(
    prepared: PreparedSite,
) -> None:
    nursery = Nursery(prepared, "tests.crash.test_real_start_kills")
    try:
        first = nursery.live("start", None)
        steps: list[str] = first["steps"]
        assert first["status"] == 0, first["said"]
        for needed in ("secretDefineXML", "setValue", "createXML", "undefine", "resume", "setMetadata"):
            assert f"libvirt.{needed}" in steps, steps
        for nth, name in enumerate(steps, 1):
            answer = nursery.live("start", nth)
            assert answer["status"] == -signal.SIGKILL, f"at {nth} ({name}): {answer['said']}"
        after = nursery.live("start", None)
        assert (after["status"], after["steps"]) == (0, steps), after["said"]
    finally:
        nursery.close()


def test_a_guest_whose_qemu_is_killed_is_shown_stopped_told_of_and_starts_again(
    prepared: PreparedSite,
) -> None:
    olga = prepared.caller(OPERATOR)
    name = f"killed-{secrets.token_hex(3)}"
    with opened(prepared) as site:
        unseal(site, prepared.caller(ADMINISTRATOR), bytearray(PASSPHRASE))
        guest_id = make_guest(site, olga, name)
        start_guest(site, olga, name, no_progress)
        time.sleep(5.5)  # what follows an access of the gate's own within five seconds counts as its own
        since = site.log.head().size
        pid = int(Path(f"/run/libvirt/qemu/{name}.pid").read_text(encoding="ascii"))
        os.kill(pid, signal.SIGKILL)
        resource = f"guest:{guest_id}"
        wait_until(lambda: ("outside.stopped", resource) in open_findings(site), "the finding was opened", 20)
        assert show_guest(site, olga, name)["state"] == "stopped"
        (told,) = [record for record in records(site, since) if record.resource == resource and record.result
                   and record.action == "domain.stopped"]  # fmt: skip
        assert told.result == {"code": "ok", "facts": {"detail": "failed"}}
        (finding,) = [each for each in site.findings.all_open() if each.resource == resource]
        assert "QEMU process ended unasked" in finding.sentence
        assert finding.record == told.id
        assert ours(prepared)[0] == []
        assert not list(Path("/var/lib/libvirt/qemu").glob(f"domain-*-{name}*/master-key.aes"))
        start_guest(site, olga, name, no_progress)
        assert site.host.is_running(guest_id)
        stop_guest(site, olga, name, force=True, timeout_s=0, progress=no_progress)
        delete_guest(site, olga, name)
        site.findings.close("outside.stopped", resource)
        require_log_holds(site)


def test_a_guest_whose_per_domain_folder_is_gone_can_be_stopped_and_started(prepared: PreparedSite) -> None:
    olga = prepared.caller(OPERATOR)
    name = f"homeless-{secrets.token_hex(3)}"
    with opened(prepared) as site:
        unseal(site, prepared.caller(ADMINISTRATOR), bytearray(PASSPHRASE))
        guest_id = make_guest(site, olga, name)
        start_guest(site, olga, name, no_progress)
        (folder,) = Path("/var/lib/libvirt/qemu").glob(f"domain-*-{name}*")
        shutil.rmtree(folder)
        assert show_guest(site, olga, name)["state"] == "running"
        stop_guest(site, olga, name, force=True, timeout_s=0, progress=no_progress)
        start_guest(site, olga, name, no_progress)
        assert site.host.is_running(guest_id)
        stop_guest(site, olga, name, force=True, timeout_s=0, progress=no_progress)
        delete_guest(site, olga, name)
        require_log_holds(site)


if __name__ == "__main__":
    raise_daemons(prepared_again(Path(sys.argv[1]), json.loads(sys.argv[2])), live)
