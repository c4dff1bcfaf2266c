"""A hypervisor whose guests live on when the daemon is killed: what it knows is in a file, written at each step."""

import json
import os
import signal
from pathlib import Path

from tests.fakes.guest_host import FakeDomain, FakeGuestHost
from vault.guests.domain_xml import DomainPlan


class HostOnFile(FakeGuestHost):
    """The hypervisor in memory, kept in a small file of JSON between processes."""

    def __init__(self, path: Path, *, die_at: str | None = None) -> None:
        """Read what is there.

        Args:
            path: the file; absent at first.
            die_at: the step of a start, or `stopped`, at which the process that uses this is killed.
        """
        super().__init__()
        self._path = path
        self._die_at = die_at
        if path.exists():
            known = json.loads(path.read_text(encoding="utf-8"))
            self.secrets = dict.fromkeys(known["secrets"], b"")
            for guest_id, domain in known["domains"].items():
                self.domains[guest_id] = FakeDomain(
                    _plan(guest_id, domain["name"]), paused=domain["paused"], starting=domain["starting"]
                )

    def undefine_secrets(self) -> int:
        count = super().undefine_secrets()
        self._save()
        return count

    def end(self, guest_id: str, how: str) -> None:
        super().end(guest_id, how)
        self._save()
        self._die_when("stopped")

    def _step(self, name: str) -> None:
        self._save()
        self._die_when(name)
        super()._step(name)

    def _die_when(self, step: str) -> None:
        if self._die_at == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def _save(self) -> None:
        domains = {
            guest_id: {"name": domain.plan.name, "paused": domain.paused, "starting": domain.starting}
            for guest_id, domain in self.domains.items()
        }
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps({"domains": domains, "secrets": sorted(self.secrets)}), encoding="utf-8")
        part.rename(self._path)


def _plan(guest_id: str, name: str) -> DomainPlan:
    """As much of a plan as can be asked for after the daemon's death."""
    return DomainPlan(
        instance="test",
        guest_id=guest_id,
        name=name,
        accelerator="tcg",
        vcpus=1,
        memory_bytes=64 * 2**20,
        uid=1,
        mac="52:54:00:00:00:01",
        network=None,
        disks=(),
        boot=None,
    )
