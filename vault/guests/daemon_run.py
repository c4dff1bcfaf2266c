"""Names one run of the daemon, so that what a dead run left behind can be told from what its successor does.

The name is made of the process id and the process's start time (proc(5), field 22): the daemon and the
watchdog that it starts agree on it without being told, and no later process has the same before a reboot.
"""

import os
from pathlib import Path

_START_TIME_FIELD = 22
#: proc(5): fields are counted from 1, and the first two end with the last `)`.
_FIELDS_BEFORE = 3


def this_run() -> str:
    """The name of the run that this process is."""
    return _run_of(os.getpid())


def is_over(run: str) -> bool:
    """Whether the process of a run has ended; a name that no run has is over too."""
    pid = run.partition("-")[0]
    try:
        return not pid.isdecimal() or _run_of(int(pid)) != run
    except (FileNotFoundError, ProcessLookupError):
        return True


def _run_of(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    fields = stat.rpartition(")")[2].split()
    return f"{pid}-{fields[_START_TIME_FIELD - _FIELDS_BEFORE]}"
