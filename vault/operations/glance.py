"""What the first page tells at a glance about the log and the machine; each a read that repeats by itself."""

import os
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from audit.log.query import Filter
from audit.log.record import Kind
from policies.vocabulary import Action
from vault.entities import HOST, LOG
from vault.gate import Access, Caller
from vault.guests.spec import HOST_RESERVE_BYTES, host_memory_bytes
from vault.operations.guest_rows import all_guests
from vault.site import Site

_VIEW = "home"
#: How many days the first page looks back.
DENIED_DAYS = 14
_MOST_RECORDS = 1000


def log_today(site: Site, caller: Caller) -> dict[str, Any]:
    """Denied accesses of the last days by day, the newest of them, and when the log was last verified."""

    def produce() -> dict[str, Any]:
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        days = [today - timedelta(days=back) for back in reversed(range(DENIED_DAYS))]
        found = site.reader.search(Filter(since=days[0], kinds=(Kind.DENIED,)), limit=_MOST_RECORDS)
        by_day = Counter(record.at[:10] for record in found.items)
        verified = site.reader.search(Filter(kinds=(Kind.OUTCOME,), action=Action.LOG_VERIFY), limit=1)
        return {
            "denied": [{"day": f"{day:%Y-%m-%d}", "count": by_day[f"{day:%Y-%m-%d}"]} for day in days],
            "denied_more": found.next is not None,
            "denied_newest": [record.document() for record in found.items[:5]],
            "verified": verified.items[0].document() if verified.items else None,
        }

    return site.gate.read(Access(caller, Action.LOG_LIST, LOG), produce, view=_VIEW)


def capacity(site: Site, caller: Caller) -> dict[str, Any]:
    """What the machine has, and what running guests take of it."""

    def produce() -> dict[str, Any]:
        running = [guest for guest in all_guests(site) if site.host.is_running(guest.id)]
        disk = shutil.disk_usage(site.settings.data_dir)
        return {
            "cpus": os.cpu_count() or 1,
            "vcpus_running": sum(guest.vcpus for guest in running),
            "memory_bytes": max(host_memory_bytes() - HOST_RESERVE_BYTES, 0),
            "memory_running_bytes": sum(guest.memory_bytes for guest in running),
            "disk_bytes": disk.total,
            "disk_free_bytes": disk.free,
        }

    return site.gate.read(Access(caller, Action.HOST_INSPECT, HOST), produce, view=_VIEW)
