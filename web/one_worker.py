"""gunicorn's master and worker, held to one worker at a time (D9).

A second worker, even for a moment (reload, more workers, re-execution), would be a second writer of the log: it could
only fail to open the site, and take the daemon down with it.
"""

import logging
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.workers.gthread import ThreadWorker

_log = logging.getLogger("web.one_worker")


class OneWorker(ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """A worker that tells its open event streams when it is asked to stop."""

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ANN401
        """SIGTERM: end in order."""
        self.app.stopping.set()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:  # noqa: ANN401
        """SIGINT and SIGQUIT: end at once."""
        self.app.stopping.set()
        super().handle_quit(sig, frame)


class OneArbiter(Arbiter):  # type: ignore[misc] # gunicorn has no types
    """An arbiter that never has two workers at once."""

    def handle_hup(self) -> None:
        """A closed terminal ends a daemon in the foreground; one in the background has none."""
        if self.app.log_file is None:
            self.handle_term()
        self._refuse("HUP")

    def handle_ttin(self) -> None:
        """Refuse TTIN."""
        self._refuse("TTIN")

    def handle_ttou(self) -> None:
        """Refuse TTOU."""
        self._refuse("TTOU")

    def handle_usr2(self) -> None:
        """Refuse USR2."""
        self._refuse("USR2")

    def handle_winch(self) -> None:
        """A terminal changed its size; gunicorn would stop its workers."""

    @staticmethod
    def _refuse(name: str) -> None:
        _log.warning("The signal was ignored: one daemon has one worker.", extra={"facts": {"signal": name}})
