"""Runs the programs that make images, so that none outlives the daemon and none leaves a mount behind.

Each program dies with the thread that started it (`setpriv --pdeathsig`). What changes root, as mmdebstrap does,
runs in mount and process namespaces of its own (`unshare`): when it is killed at any point, all that it started
and mounted is gone with it, and the folder can be removed without fear for the host's /dev.
"""

import logging
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vault.errors import HostFailure

_LOG = logging.getLogger(__name__)
#: For all that works on local files only.
LOCAL_TIMEOUT_S = 300.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DYING = ("setpriv", "--pdeathsig", "KILL", "--")
_CONTAINED = ("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--")
# A proxy is the one thing of our environment that a download needs.
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_PACKAGES: Mapping[str, str] = {
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "prlimit": "util-linux",
    "sfdisk": "fdisk",
    "mke2fs": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mmd": "mtools",
    "mcopy": "mtools",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
    "qemu-img": "qemu-utils",
}
_KEPT_LINES = 40

#: Told each line that a program says. What it raises stops the program and is passed on.
LineReader = Callable[[str], None]


#: How long a program may say nothing before whoever waits for it is asked whether to go on.
_ASK_AGAIN_S = 0.5


def ignore_line(_line: str) -> None:
    """For callers that need only the end."""


def wait_on() -> None:
    """For callers that wait whatever happens."""


def run_tool(
    arguments: Sequence[str | os.PathLike[str]],
    doing: str,
    *,
    on_line: LineReader = ignore_line,
    on_silence: Callable[[], None] = wait_on,
    stdin_text: str | None = None,
    silence_limit_s: float = LOCAL_TIMEOUT_S,
    contained: bool = False,
    scratch: Path | None = None,
) -> str:
    """Run a program to its end.

    Args:
        arguments: program and arguments; nothing secret.
        doing: what it is for, to complete "could not …".
        on_line: told each line of its standard error and output.
        on_silence: called while it says nothing. What it raises stops the program and is passed on.
        stdin_text: a short text for its standard input (below 4,096 bytes, what a pipe takes without a reader).
        silence_limit_s: it is stopped when it says nothing for so long.
        contained: run it in mount and process namespaces of its own.
        scratch: folder for its temporary files, so that a kill leaves none elsewhere.

    Returns:
        everything it said, the last lines only when that is much.

    Raises:
        HostFailure: it is not installed, failed, or said nothing for too long.
    """
    words = [os.fspath(argument) for argument in arguments]
    prefix = (*_DYING, *_CONTAINED) if contained else _DYING
    environment = {"PATH": _PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    environment |= {name: value for name in _PROXIES if (value := os.environ.get(name))}
    if scratch is not None:
        environment["TMPDIR"] = str(scratch)
    _require_installed((prefix[0], words[0]) if not contained else (prefix[0], _CONTAINED[0], words[0]))
    try:
        child = subprocess.Popen(
            [*prefix, *words],
            stdin=subprocess.DEVNULL if stdin_text is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    except OSError as error:
        raise HostFailure(f"{words[0]} could not be started.", "Look at the host's memory.") from error
    said: list[str] = []

    def keep(line: str) -> None:
        said.append(line)
        if len(said) > 2 * _KEPT_LINES:
            del said[:_KEPT_LINES]
        on_line(line)

    with child:
        try:
            if child.stdin is not None and stdin_text is not None:
                child.stdin.write(stdin_text.encode())
                child.stdin.close()
            in_time = _follow(child, keep, on_silence, silence_limit_s)
        except BaseException:
            child.kill()
            raise
        if not in_time:
            child.kill()
            raise HostFailure(
                f"{words[0]} could not {doing}: it said nothing for {silence_limit_s:.0f} seconds.",
                "Look at the network and the load of the host, then try again.",
            )
    if child.returncode != 0:
        _LOG.warning("%s could not %s: %s", words[0], doing, "\n".join(said[-_KEPT_LINES:]))
        raise _failed(words[0], doing, said)
    return "\n".join(said)


def _follow(
    child: subprocess.Popen[bytes], keep: LineReader, on_silence: Callable[[], None], silence_limit_s: float
) -> bool:
    """Read what the child says until it ends; False when it was silent for too long."""
    stream = child.stdout
    if stream is None:  # opened as a pipe above
        return True
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        until = time.monotonic() + silence_limit_s
        while True:
            if not selector.select(min(_ASK_AGAIN_S, silence_limit_s)):
                on_silence()
                if time.monotonic() >= until:
                    return False
                continue
            until = time.monotonic() + silence_limit_s
            chunk = os.read(stream.fileno(), 65536)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                keep(line.decode("utf-8", "replace").rstrip())
            if not chunk:
                if rest:
                    keep(rest.decode("utf-8", "replace").rstrip())
                return True


def _require_installed(programs: Sequence[str]) -> None:
    for program in programs:
        if not any((Path(folder) / program).is_file() for folder in _PATH.split(":")):
            raise HostFailure(
                f"The program {program} is not installed.",
                f"Install it: apt-get install {_PACKAGES.get(program, program)}",
            )


def _failed(program: str, doing: str, said: Sequence[str]) -> HostFailure:
    if any("No space left on device" in line or "Disk full" in line for line in said):
        return HostFailure(
            f"There is no space left to {doing}.", "Free some space on that device, then try again."
        )
    network = ("Could not resolve", "Could not connect", "Temporary failure resolving", "Unable to connect")
    if any(word in line for line in said for word in network):
        return HostFailure(
            f"{program} could not {doing}: the distribution's archive does not answer.",
            "Look at the network, and whether `apt-get update` works on this host, then try again.",
        )
    return HostFailure(f"{program} could not {doing}.", "The daemon's log has what it said.")
