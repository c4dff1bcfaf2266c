"""What every way in needs: log, gate, state. `strongroom init` uses it as it is, the daemon builds on it."""

from dataclasses import dataclass

from audit.errors import LogUnavailable
from audit.log.epoch_key import EpochKeys
from audit.log.noted_head import NotedHead
from audit.log.signing_key import LogKey
from audit.log.sqlite_store import SqliteLogStore
from audit.log.writer import LogWriter
from policies.bundle import PolicyBundle, shipped
from policies.engine import PolicyEngine
from vault.clock import HostClock
from vault.config import Settings
from vault.database import Database
from vault.entities import EntityBuilder
from vault.errors import NotFound
from vault.gate import Gate
from vault.identity.accounts import Accounts
from vault.identity.sessions import Sessions
from vault.journal import SafeJournal


@dataclass(slots=True)
class Foundation:
    """What every way in needs: log, gate, state."""

    settings: Settings
    bundle: PolicyBundle
    log: LogWriter
    database: Database
    gate: Gate
    journal: SafeJournal
    accounts: Accounts
    sessions: Sessions

    def close(self) -> None:
        """Close state and log."""
        self.database.close()
        self.log.close()


def open_foundation(settings: Settings) -> Foundation:
    """Join log, gate and state of an existing data folder.

    Raises:
        NotFound: there is no site.
        LogUnavailable: there is a site, and its log is missing.
        LogHeld: another daemon has this site.
        LogDamaged: the stored log does not fit together, or is older than its noted head.
    """
    if not settings.log_db.is_file():
        if settings.secrets_dir.exists() or settings.state_db.exists():
            raise LogUnavailable(
                f"The log {settings.log_db} is missing.",
                "Put it back, or restore it from its backup; a new one must never take its place.",
            )
        raise NotFound(f"There is no site in {settings.data_dir}.", "Make one with `strongroom init`.")
    bundle = shipped()
    key = LogKey.load(settings.secrets_dir / "log.key")
    noted = NotedHead(settings.secrets_dir / "log.head")
    epochs = EpochKeys(settings.secrets_dir)
    log = LogWriter(SqliteLogStore(settings.log_db), HostClock(), key, epochs, noted=noted)
    try:
        log.add_bundle(bundle.digest, bundle.files)
        database = Database(settings.state_db)
    except BaseException:
        log.close()
        raise
    journal = SafeJournal(settings.data_dir / "safe-actions.jsonl")
    gate = Gate(
        PolicyEngine(bundle), EntityBuilder(database), log, journal, log_timeout_s=settings.log_timeout_s
    )
    return Foundation(
        settings,
        bundle,
        log,
        database,
        gate,
        journal,
        Accounts(database, settings),
        Sessions(database, settings),
    )
