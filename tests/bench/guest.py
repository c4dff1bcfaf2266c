"""From `guest create` to the guest agent's first answer: how much of it is our own time.

A real guest on real libvirt, from an encrypted disk: the small guest of the tests (Debian's kernel, a short init, the
guest agent), which boots in seconds where a whole Debian takes a minute; so our part counts for more here, not less.
Not ours are three waits: for `qemu-img` to copy the image, for libvirt to make the domain, for the guest to boot.
All else is, the formatting of the disks with its programs included.
"""

import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.row import Rounds, Row
from tests.bench.subject import NotMeasured, Setting, Subject
from tests.sites import ADMINISTRATOR, OPERATOR, PASSPHRASE, PASSWORD, new_settings, remove_site
from tests.small_guest import SmallGuest, small_guest
from vault.disks.images.image_build import describe
from vault.disks.images.model import DISK_FILE, INITRD_FILE, KERNEL_FILE, Firmware, Image, Source
from vault.disks.images.recipe import Recipe
from vault.disks.images.store import ImageStore
from vault.gate import Caller
from vault.identity.accounts import account_ref
from vault.jobs import no_progress
from vault.model import new_id
from vault.operations.accounts import create_account
from vault.operations.guest_create import NewGuest, create_guest
from vault.operations.guest_delete import delete_guest
from vault.operations.guest_run import start_guest, stop_guest
from vault.operations.images import build_image
from vault.operations.init import init_site
from vault.operations.keystore import unseal
from vault.site import Site
from vault.waits import waited_s
from vault.wiring import open_site

_ROUNDS = 3
_IMAGE = "debian-12"
_MIB = 2**20
_GUEST_BYTES = 256 * _MIB
_AGENT_WITHIN_S = 180
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class _Run:
    own_s: float
    other_s: float


def measure(setting: Setting, _wanted: frozenset[str]) -> Iterator[Row]:
    """Measure the way of a guest."""
    if shutil.which("virsh") is None:
        raise NotMeasured("There is no libvirt here; `make setup` installs it.")
    with ExitStack() as stack:
        setting.say("guest.ready: building the small guest and a site")
        site, operator = _site_with_image(setting, stack)
        _one_run(site, operator)  # finds the accelerator, brings up the network
        runs = []
        for number in range(_ROUNDS):
            setting.say(f"guest.ready: guest {number + 1} of {_ROUNDS}")
            runs.append(_one_run(site, operator))
    rounds = Rounds([run.own_s for run in runs], [run.other_s for run in runs])
    row = Row(
        "guest.ready",
        "From create to the agent's answer: our own time; against what qemu-img, libvirt and the guest took "
        "(the tests' small guest)",
        rounds,
        "s",
        "own_percent <= 5",
    )
    yield replace(row, facts={"own_percent": round(100 * row.ours / (row.ours + row.theirs), 2)})


def _one_run(site: Site, operator: Caller) -> _Run:
    name = f"bench-{secrets.token_hex(3)}"
    wanted = NewGuest(name, _IMAGE, vcpus=1, memory_bytes=_GUEST_BYTES, disk_bytes=_GUEST_BYTES)
    began_at, waited_before_s = time.perf_counter(), waited_s()
    guest_id = create_guest(site, operator, wanted, no_progress)["id"]
    try:
        start_guest(site, operator, name, no_progress)
        started_at, waited_after_s = time.perf_counter(), waited_s()
        while not site.host.agent_answers(name):
            if time.perf_counter() - started_at > _AGENT_WITHIN_S:
                raise NotMeasured(f"The guest's agent did not answer within {_AGENT_WITHIN_S} seconds.")
            time.sleep(_LOOK_EVERY_S)
        ready_at = time.perf_counter()
    finally:
        if site.host.is_running(guest_id):
            stop_guest(site, operator, name, force=True, timeout_s=0, progress=no_progress)
        delete_guest(site, operator, name)
    own_s = started_at - began_at - (waited_after_s - waited_before_s)
    return _Run(own_s, ready_at - began_at - own_s)


def _site_with_image(setting: Setting, stack: ExitStack) -> tuple[Site, Caller]:
    settings = replace(new_settings(), data_dir=setting.folder / f"site-{secrets.token_hex(4)}")
    stack.callback(remove_site, settings)
    made = init_site(settings, ADMINISTRATOR, PASSWORD, bytearray(PASSPHRASE))
    site = open_site(settings)
    stack.callback(site.close)
    administrator = Caller(account_ref(made["administrator"]["id"]), "cli")
    unseal(site, administrator, bytearray(PASSPHRASE))
    account = create_account(site, administrator, OPERATOR, PASSWORD, ["operator"])
    operator = Caller(account_ref(account["id"]), "cli", session=new_id())
    small = small_guest()
    # A cache of its own: what is built here is not what its recipe's name says.
    site.images = ImageStore(
        settings.data_dir / "images",
        setting.folder / "image-cache",
        build=lambda recipe, folder, _progress: _small_image(small, recipe, folder),
    )
    build_image(site, operator, _IMAGE, no_progress)
    return site, operator


def _small_image(small: SmallGuest, recipe: Recipe, folder: Path) -> Image:
    """The small guest as an image of the store."""
    shutil.copyfile(small.kernel, folder / KERNEL_FILE)
    shutil.copyfile(small.initrd, folder / INITRD_FILE)
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", small.image, folder / DISK_FILE], check=True
    )
    return describe(
        Image(
            folder=folder,
            id=new_id(),
            name=recipe.name,
            os="the small guest of the tests",
            created_at=datetime.now(UTC),
            source=Source.BUILT,
            recipe_sha256=recipe.digest,
            virtual_size_bytes=small.image.stat().st_size,
            firmware=Firmware.EFI,
            kernel_options=small.command_line,
            files={},
        )
    )


SUBJECT = Subject(("guest.ready",), measure)
