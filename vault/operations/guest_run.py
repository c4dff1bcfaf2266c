"""Start and stop guests, and settle a start or a stop that a killed daemon left open."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from policies.vocabulary import Action
from vault.disks.measure import measure_disk
from vault.entities import guest_ref
from vault.errors import Conflict, IntegrityFailure
from vault.gate import Access, Caller
from vault.guests.domain_xml import DirectBoot, DomainPlan, PlannedDisk
from vault.guests.mounts import active_swap
from vault.jobs import Progress
from vault.keystore.secret import DiskPassphrase
from vault.model import Disk, DiskRole, Guest, GuestState, utc_now
from vault.operations.guest_rows import disks_of, guest_named, guest_view
from vault.operations.keyslots import check_keyslots
from vault.permit import Permit
from vault.site import Site

_TARGETS = {DiskRole.ROOT: "vda", DiskRole.SEED: "vdb"}
DEFAULT_STOP_TIMEOUT_S = 90.0


def start_guest(site: Site, caller: Caller, name: str, progress: Progress) -> dict[str, Any]:
    """Start a guest through the gate: its key is handed to QEMU for this start and no other.

    Raises:
        Conflict: it runs already, or is not whole.
        Sealed: the key store is sealed.
        HostUnprotected: the host would leave keys on a disk.
    """
    guest = guest_named(site, name)

    def act(permit: Permit) -> None:
        _require_startable(site, guest.id, name)
        disks = disks_of(site, guest.id)
        progress(10, "Measuring the disks.")
        for disk in disks:
            check_keyslots(site, permit, guest_ref(guest.id), disk)
            if not measure_disk(Path(disk.path)).encrypted:
                raise IntegrityFailure(
                    f"The {disk.role} disk of {name!r} is not encrypted, so the guest is not started.",
                    "Find out who exchanged it; restore it from a backup.",
                )
        progress(30, "Choosing the accelerator.")
        plan = _plan(site, guest, disks)
        permit.note(accelerator=plan.accelerator)
        progress(60, "Handing the keys to the guest.")
        # Before the keys are handed out: a state that cannot be written must not leave a guest running that the
        # record calls a failure.
        before = _note_start(site, guest.id, utc_now())
        try:
            with _passphrases(site, permit, guest, disks) as passphrases:
                site.host.start(permit, guest_ref(guest.id), plan, passphrases)
        except BaseException:
            _note_start(site, guest.id, before)
            raise

    site.gate.run(Access(caller, Action.GUEST_START, guest_ref(guest.id)), act)
    # Outside the act: a host that cannot be asked afterwards does not make a start that was done a failure.
    return guest_view(site, guest_named(site, name))


def stop_guest(
    site: Site,
    caller: Caller,
    name: str,
    *,
    force: bool = False,
    timeout_s: float = DEFAULT_STOP_TIMEOUT_S,
    progress: Progress,
) -> dict[str, Any]:
    """Stop a guest: asked first, and with `force` its power is cut after the time.

    Raises:
        Conflict: it does not run, or did not shut down in time.
    """
    guest = guest_named(site, name)
    resource = guest_ref(guest.id)

    def act(permit: Permit) -> None:
        def waiting(waited_s: float) -> None:
            progress(
                int(90 * waited_s / max(timeout_s, 1)), f"Waiting for {name} to shut down ({waited_s:.0f} s)."
            )

        cut = site.host.stop(permit, resource, name, timeout_s=timeout_s, force=force, waiting=waiting)
        permit.note(power_cut=cut)
        _after_stop(site, permit, guest)

    site.gate.run(Access(caller, Action.GUEST_STOP, resource), act)
    return guest_view(site, guest_named(site, name))


def settle_start(site: Site, permit: Permit, guest_id: str) -> bool:
    """Settle an open start: remove what was half started. Returns whether the guest runs."""
    site.host.undefine_secrets()
    site.host.abandon(permit, guest_ref(guest_id))
    running = site.host.is_running(guest_id)
    permit.note(running=running)
    if running:
        _note_start(site, guest_id, utc_now())
    return running


def settle_stop(site: Site, permit: Permit, guest_id: str) -> bool:
    """Settle an open stop. Returns whether the guest stopped; one that still runs is left alone."""
    stopped = not site.host.is_running(guest_id)
    permit.note(running=not stopped)
    with site.database.session() as session:
        guest = session.get(Guest, guest_id)
    if stopped and guest is not None:
        _after_stop(site, permit, guest)
    return stopped


def _note_start(site: Site, guest_id: str, at: datetime | None) -> datetime | None:
    """Note when the guest was started; returns what stood there."""
    with site.database.session() as session:
        guest = session.get_one(Guest, guest_id)
        before, guest.started_at = guest.started_at, at
    return before


def _after_stop(site: Site, permit: Permit, guest: Guest) -> None:
    for disk in disks_of(site, guest.id):
        path = Path(disk.path)
        if path.exists():
            # Whoever had it in between (libvirt gives files away after a stop): it is the guest's again.
            os.chown(path, guest.uid, guest.uid, follow_symlinks=False)
            check_keyslots(site, permit, guest_ref(guest.id), disk)


def _require_startable(site: Site, guest_id: str, name: str) -> None:
    # Read again: while this access waited for the guest's lock, another may have deleted the guest.
    with site.database.session() as session:
        state = session.get_one(Guest, guest_id).state
    if state != GuestState.READY:
        raise Conflict(f"The guest {name!r} is {state}.", "Wait until that has ended.")
    if site.host.is_running(guest_id):
        raise Conflict(f"The guest {name!r} is running already.", "See `strongroom guest show`.")


def _plan(site: Site, guest: Guest, disks: list[Disk]) -> DomainPlan:
    image = site.images.get(guest.image_id)
    boot = None
    if image.boots_directly:
        kernel, initrd = site.images.verified_kernel(image)
        boot = DirectBoot(kernel, initrd, image.kernel_options or "")
    accelerator = site.accelerators.find(boot.kernel if boot else None)
    return DomainPlan(
        instance=site.settings.instance,
        guest_id=guest.id,
        name=guest.name,
        accelerator=accelerator.kind,
        vcpus=guest.vcpus,
        memory_bytes=guest.memory_bytes,
        uid=guest.uid,
        mac=guest.mac,
        network=site.settings.network,
        disks=tuple(
            PlannedDisk(_TARGETS[DiskRole(disk.role)], Path(disk.path), read_only=disk.role == DiskRole.SEED)
            for disk in disks
        ),
        boot=boot,
        lock_memory=bool(active_swap()),
    )


@contextlib.contextmanager
def _passphrases(
    site: Site, permit: Permit, guest: Guest, disks: list[Disk]
) -> Iterator[Mapping[str, DiskPassphrase]]:
    """The disks' passphrases by target name, wiped after the block."""
    with contextlib.ExitStack() as stack:
        yield {
            _TARGETS[DiskRole(disk.role)]: stack.enter_context(
                site.keys.unwrap_key(permit, guest_ref(guest.id), disk.key_id)
            )
            for disk in disks
        }
