"""Keeps a process's memory off every disk and out of other processes' hands.

What Python copies around cannot be followed, so not a buffer but the whole process is locked: all of its
pages, now and later. The process does nothing but hold keys, so that is some 60 MB, and 64 MiB more while
Argon2id runs.
"""

import ctypes
import os
import resource
import signal

from vault.errors import HostUnprotected

# From <sys/mman.h> and <linux/prctl.h>; the same on every architecture Debian runs QEMU on.
_MCL_CURRENT = 1
_MCL_FUTURE = 2
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_GET_DUMPABLE = 3


def is_dumpable() -> bool:
    """Whether the kernel would write this process's memory to a core file or let others of its user read it."""
    return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)


def protect_process() -> None:
    """Lock all memory against swapping, forbid core dumps and tracing by others, and die with the parent.

    Raises:
        HostUnprotected: the host does not allow it; the process must then hold no key.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # 1. No core file, and no raising of that limit later.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # 2. Not dumpable: no core pipe either, no ptrace and no /proc/<pid>/mem for others of the same user.
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 or libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise HostUnprotected("The kernel does not let the key process forbid core dumps.")
    # 3. When the thread that started this process ends, so does this process, even if the socket stays open
    #    somewhere. The client starts it from a thread that lives as long as the client does.
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        raise HostUnprotected("The kernel does not let the key process end with the daemon.")
    # 4. No page of this process reaches swap.
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        raise HostUnprotected(
            f"The key process cannot lock its memory: {os.strerror(ctypes.get_errno())}.",
            "Run the daemon as root, or give it CAP_IPC_LOCK or LimitMEMLOCK=infinity.",
        )
