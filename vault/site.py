"""The parts of one running site, joined. `vault.wiring` makes it; operations act through it.

A plain holder: no behaviour beyond closing in the right order.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from audit.log.query import LogQuery
from audit.log.writer import LogWriter
from policies.bundle import PolicyBundle
from vault.config import Settings
from vault.database import Database
from vault.disks.format import DiskFormatter
from vault.disks.images.store import ImageStore
from vault.disks.ram_dir import RamDir
from vault.findings import Findings
from vault.gate import Gate
from vault.guests.accelerator import AcceleratorFinder
from vault.guests.ports import GuestHost
from vault.identity.accounts import Accounts
from vault.identity.sessions import Sessions
from vault.jobs import Jobs
from vault.keystore.client import KeyService
from vault.model import utc_now
from vault.witnesses.watch import Witnesses


@dataclass(slots=True)
class Site:
    """Everything an operation may use.

    Attributes:
        closers: what to stop; the last added first.
        opened_at: since when it serves.
    """

    settings: Settings
    gate: Gate
    log: LogWriter
    reader: LogQuery
    bundle: PolicyBundle
    database: Database
    accounts: Accounts
    sessions: Sessions
    findings: Findings
    jobs: Jobs
    keys: KeyService
    host: GuestHost
    images: ImageStore
    memory: RamDir
    disks: DiskFormatter
    accelerators: AcceleratorFinder
    witnesses: Witnesses
    closers: list[Callable[[], None]] = field(default_factory=list)
    opened_at: datetime = field(default_factory=utc_now)

    def close(self) -> None:
        """Stop everything; each part is stopped even when another cannot be."""
        with contextlib.ExitStack() as stack:
            for closer in self.closers:
                stack.callback(closer)
