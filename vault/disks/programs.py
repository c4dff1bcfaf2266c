"""Runs qemu-img and cryptsetup: fixed argument lists, an empty environment, secrets only through a pipe.

A passphrase goes in as a pipe that the program inherits: it is in no argument, no environment, no file, and
when the program or this process is killed nothing of it is left anywhere.
"""

import logging
import os
import re
import selectors
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from vault.errors import HostFailure
from vault.keystore.secret import SecretBytes
from vault.waits import waiting_for_others

_LOG = logging.getLogger(__name__)
#: For everything but copying an image.
QUICK_TIMEOUT_S = 60.0
_ASK_AGAIN_S = 0.5
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_PROGRESS = re.compile(rb"\((\d+)\.(\d)\d/100%\)")
_NO_SPACE = "No space left on device"
_PACKAGES = {"qemu-img": "qemu-utils", "cryptsetup": "cryptsetup-bin"}

#: Told how far a copy is, in per mille (0 to 1000). What it raises stops the copy and is passed on.
Progress = Callable[[int], None]


class ProgramFailed(HostFailure):
    """A program ran and said no, for a reason that a second try may not meet."""


@contextmanager
def secret_pipe(secret: SecretBytes) -> Iterator[int]:
    """A pipe from which one program may read a secret once; yields the end to pass on.

    A passphrase is far below the 4,096 bytes that a pipe takes without a reader (PIPE_BUF).
    """
    reading, writing = os.pipe()
    try:
        try:
            os.write(writing, secret.reveal())
        finally:
            os.close(writing)
        yield reading
    finally:
        os.close(reading)


def qemu_secret(descriptor: int) -> str:
    """The `--object` argument by which qemu-img reads a passphrase from an inherited pipe, as `sec0`."""
    return f"secret,id=sec0,file=/dev/fd/{descriptor}"


def encrypted_disk(path: os.PathLike[str]) -> str:
    """The `--image-opts` text of an encrypted disk whose passphrase is secret `sec0`."""
    # A comma ends an option unless it is doubled; the drivers are named, so that no path can mean a protocol.
    name = os.fspath(path).replace(",", ",,")
    return f"driver=qcow2,file.driver=file,file.filename={name},encrypt.key-secret=sec0"


def run_program(
    arguments: Sequence[str],
    doing: str,
    *,
    stdin: int = subprocess.DEVNULL,
    pass_fds: tuple[int, ...] = (),
) -> None:
    """Run a program to its end.

    Args:
        arguments: program and arguments; nothing secret.
        doing: what it is for, to complete "could not …".
        stdin: descriptor for its standard input.
        pass_fds: descriptors it inherits.

    Raises:
        HostFailure: it is not installed, failed, or took longer than a minute.
    """
    with _translated(arguments[0], doing):
        ended = subprocess.run(
            arguments,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
            env=_ENVIRONMENT,
            timeout=QUICK_TIMEOUT_S,
            check=False,
        )
    if ended.returncode != 0:
        raise _failed(arguments[0], doing, ended.stderr)


def run_with_progress(
    arguments: Sequence[str], doing: str, progress: Progress, *, pass_fds: tuple[int, ...] = ()
) -> None:
    """Run `qemu-img … -p` to its end and tell how far it is.

    Raises:
        HostFailure: as for `run_program`, without the time limit.
    """
    with _translated(arguments[0], doing):
        child = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
            env=_ENVIRONMENT,
        )
    with child, waiting_for_others():
        try:
            _follow(child, progress)
            _, errors = child.communicate()
        except BaseException:
            child.kill()
            raise
    if child.returncode != 0:
        raise _failed(arguments[0], doing, errors)


def _follow(child: subprocess.Popen[bytes], progress: Progress) -> None:
    stream = child.stdout
    if stream is None:  # opened as a pipe above
        return
    last = -1
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if not selector.select(_ASK_AGAIN_S):
                # Nothing new. Whoever listens is asked all the same, so that a cancelled copy ends soon.
                progress(max(last, 0))
                continue
            chunk = os.read(stream.fileno(), 4096)
            if not chunk:
                return
            found = _PROGRESS.findall(chunk)
            if found:
                done = int(found[-1][0]) * 10 + int(found[-1][1])
                if done != last:
                    progress(done)
                    last = done


@contextmanager
def _translated(program: str, doing: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise HostFailure(
            f"The program {program} is not installed.",
            f"Install it: apt-get install {_PACKAGES.get(program, program)}",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise HostFailure(
            f"{program} could not {doing}: it took too long.", "Look at the load of the host."
        ) from error
    except OSError as error:
        raise HostFailure(f"{program} could not be started.", "Look at the host's memory.") from error


def _failed(program: str, doing: str, errors: bytes) -> HostFailure:
    detail = errors.decode("utf-8", "replace").strip()
    # It names files and options; secrets reach these programs only through pipes.
    _LOG.warning("%s could not %s: %s", program, doing, detail)
    if _NO_SPACE in detail:
        return HostFailure(
            f"There is no space left to {doing}.",
            "Free some space on the device of the disks, then try again.",
        )
    return ProgramFailed(f"{program} could not {doing}.", "The daemon's log has what it said.")
