"""Makes system calls of a running process fail or hang, with strace(1): real errors where no disk gives them."""

import contextlib
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_ATTACH_TIMEOUT_S = 30
#: `strace -f` writes the thread's id before each call.
_CALL = re.compile(r"^\d+\s+(?:\[pid\s+\d+\]\s+)?(\w+)\(", re.MULTILINE)


@contextlib.contextmanager
def failing(
    pid: int, calls: str, error: str, when: str = "1+", *, path: Path | None = None
) -> Iterator[None]:
    """Let calls fail while the block runs.

    Args:
        pid: of the process; all its threads are meant.
        calls: names, with commas between.
        error: such as `EIO`.
        when: which of them, as strace writes it: `3` the third alone, `1+` all. Counted for each thread.
        path: only those on this file.
    """
    only = ("-P", str(path)) if path else ()
    with _traced(pid, *only, "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={when}"):
        yield


@contextlib.contextmanager
def hanging(pid: int, calls: str, delay_s: float) -> Iterator[None]:
    """Let calls begin only after a delay, as on storage that hangs."""
    delay_us = int(delay_s * 1_000_000)
    with _traced(pid, "-e", f"trace={calls}", "-e", f"inject={calls}:delay_enter={delay_us}:when=1"):
        yield


@contextlib.contextmanager
def counting(pid: int, calls: str) -> Iterator[Counter[str]]:
    """Count calls while the block runs; filled in at its end."""
    counted: Counter[str] = Counter()
    with tempfile.NamedTemporaryFile("r", suffix=".strace") as told:
        with _traced(pid, "-e", f"trace={calls}", out=told.name):
            yield counted
        counted.update(_CALL.findall(told.read()))


@contextlib.contextmanager
def _traced(pid: int, *arguments: str, out: str = "/dev/null") -> Iterator[None]:
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", out, *arguments, "-p", str(pid)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait_until_attached(pid, tracer)
        yield
    finally:
        tracer.terminate()
        tracer.communicate(timeout=30)


def _wait_until_attached(pid: int, tracer: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _ATTACH_TIMEOUT_S
    wanted = f"TracerPid:\t{tracer.pid}\n"
    while True:
        threads = [path.read_text(encoding="ascii") for path in Path(f"/proc/{pid}/task").glob("*/status")]
        if threads and all(wanted in text for text in threads):
            return
        if tracer.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"strace cannot look at process {pid}")
        time.sleep(0.01)
