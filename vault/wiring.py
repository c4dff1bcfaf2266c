"""The one place where the parts are joined: what audit and the gate ask for, vault hands over here.

`open_site` takes the foundation, adds keys, disks and hypervisor, settles what an earlier run left open,
and only then lets new intents in.
"""

import contextlib
import logging
from collections.abc import Callable

from audit.errors import LogUnavailable
from audit.log.query import LogQuery
from audit.log.record import Draft, Kind
from audit.log.recovery import settle_open_intents
from policies.vocabulary import Action
from vault.config import Settings
from vault.disks.format import DiskFormatter
from vault.disks.images.store import ImageStore
from vault.disks.ram_dir import RamDir
from vault.entities import DAEMON, KEY_STORE, LOG, RECOVERY, SITE
from vault.errors import KeyStoreDamaged
from vault.findings import Findings
from vault.foundation import Foundation, open_foundation
from vault.gate import Access, Caller
from vault.guests.accelerator import AcceleratorFinder
from vault.guests.host_memory import HostLayout
from vault.guests.libvirt_host import LibvirtHost
from vault.guests.ports import GuestHost
from vault.guests.watchdog import start_watchdog
from vault.jobs import Jobs, job_ref
from vault.keystore.client import KeyProcessClient
from vault.operations.agreement import compare, tell
from vault.operations.alarms import raise_alarms
from vault.operations.job_kinds import ending_of, job_kinds
from vault.operations.keystore import UNUSABLE
from vault.operations.outside import OutsideWatch
from vault.operations.recovery import settle
from vault.site import Site
from vault.witnesses.watch import witnesses_of

logger = logging.getLogger(__name__)


def connect_libvirt(settings: Settings) -> GuestHost:
    """The hypervisor that the settings name."""
    return LibvirtHost(settings.libvirt_uri, settings.instance, layout=HostLayout(ram_dir=settings.run_dir))


def open_site(settings: Settings, connect: Callable[[Settings], GuestHost] = connect_libvirt) -> Site:
    """Open a site for acting: join, settle what is open, watch, then let intents in.

    Args:
        connect: makes the hypervisor; libvirt unless a test brings its own.

    Raises:
        StrongroomError: what kept it from opening; everything that was started is stopped again.
    """
    with contextlib.ExitStack() as undo:
        foundation = open_foundation(settings)
        undo.callback(foundation.close)
        settings.run_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        memory = RamDir(settings.memory_dir)
        memory.sweep()
        keys = KeyProcessClient(settings.keystore_dir, settings.log_db)
        undo.callback(keys.close)
        unusable = _start_keys(keys)
        watchdog = start_watchdog(settings.instance, settings.libvirt_uri)
        undo.callback(watchdog.close)
        host = connect(settings)
        undo.callback(host.close)
        reader = LogQuery(settings.log_db)
        undo.callback(reader.close)
        jobs = Jobs(
            foundation.database, lambda error: logger.error("A job failed unexpectedly.", exc_info=error)
        )
        undo.callback(jobs.close)
        findings = Findings(foundation.database)
        site = Site(
            settings=settings,
            gate=foundation.gate,
            log=foundation.log,
            reader=reader,
            bundle=foundation.bundle,
            database=foundation.database,
            accounts=foundation.accounts,
            sessions=foundation.sessions,
            findings=findings,
            jobs=jobs,
            keys=keys,
            host=host,
            disks=DiskFormatter(settings.cache_dir / "templates", memory),
            images=ImageStore(settings.data_dir / "images", settings.cache_dir / "images"),
            memory=memory,
            accelerators=AcceleratorFinder(settings.accelerator, settings.cache_dir),
            witnesses=witnesses_of(settings, foundation.log, reader, findings),
        )
        _begin(site, foundation, unusable)
        site.closers.insert(0, undo.pop_all().close)
        return site


def _start_keys(keys: KeyProcessClient) -> KeyStoreDamaged | None:
    """Start the key process. A store that is not there or damaged keeps keys closed, and nothing else.

    Guests that run must be stoppable, and the log readable, while the store's device is away.
    """
    try:
        keys.start()
    except KeyStoreDamaged as error:
        logger.warning("The key store cannot be used: %s", error.message)
        return error
    return None


def _begin(site: Site, foundation: Foundation, unusable: KeyStoreDamaged | None) -> None:
    """Settle, record the start, watch."""
    settle_open_intents(
        site.log,
        lambda intent: site.gate.settle(intent, lambda permit: settle(site, intent, permit)),
        principal=str(RECOVERY),
        resource=str(SITE),
    )
    foundation.journal.drain(site.gate.record)
    watch = OutsideWatch(site)
    watch.look_around()
    _look_at_stores(site, unusable)
    site.host.watch(watch.handle)
    raise_alarms(site)
    daemon = Caller(DAEMON, "daemon")
    site.gate.run(Access(daemon, Action.SYSTEM_START, SITE), lambda permit: permit.note(sealed=True))
    site.gate.before_act(site.jobs.note_intent)
    for job in site.jobs.open(
        job_kinds(site), lambda intent: ending_of(site, intent), sealed=site.keys.status().sealed
    ):
        site.findings.open(
            "job.gave_up",
            resource=str(job_ref(job.id)),
            sentence=f"The daemon was stopped {job.attempt} times while {job.action} ran.",
            record=job.intent,
        )
    site.closers.append(lambda: _end(site))
    site.witnesses.start()
    site.closers.append(site.witnesses.close)


def _look_at_stores(site: Site, unusable: KeyStoreDamaged | None) -> None:
    """Whether log, state and key store are of one age, and there: what is not becomes a finding."""
    if unusable is None:
        tell(site, compare(site))
    else:
        site.findings.open(
            UNUSABLE,
            resource=str(KEY_STORE),
            sentence=f"The key store cannot be used: {unusable.message}",
            remedy=unusable.hint,
        )
    if site.log.unanchored:
        record = site.gate.record(
            Draft(
                kind=Kind.RECOVERY,
                principal=str(RECOVERY),
                action=Action.SYSTEM_RECOVER,
                resource=str(LOG),
                result={"code": "log.head_missing", "facts": {}},
            )
        )
        site.findings.open(
            "log.head_missing",
            resource=str(LOG),
            sentence="The log's noted head was missing at the start, so records at its end may have been cut off.",
            record=record.id,
        )


def _end(site: Site) -> None:
    site.jobs.close()  # their outcomes come before the record of the stop
    try:
        site.gate.record(
            Draft(
                kind=Kind.SYSTEM,
                principal=str(DAEMON),
                action=Action.SYSTEM_STOP,
                resource=str(SITE),
                result={"code": "ok", "facts": {}},
            )
        )
    except LogUnavailable:
        # Stopping is safe without the log; the next start's record shows the gap.
        logger.warning("The daemon's stop could not be recorded: the log cannot be written.")
