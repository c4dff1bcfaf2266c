"""A real witness process, started by its command, perhaps in a network namespace of its own."""

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from audit.log.cosignature import CosignerKey
from web.witness.folder import WitnessFolder

STRONGROOM = Path(sys.executable).with_name("strongroom")
_START_S = 60.0


@dataclass
class Served:
    """A witness that answers."""

    folder: WitnessFolder
    url: str
    process: subprocess.Popen[bytes]

    @property
    def key(self) -> CosignerKey:
        return CosignerKey.parse(self.folder.key.vkey)

    def client(self) -> httpx.Client:
        tls = ssl.create_default_context(cafile=self.folder.certificate)
        return httpx.Client(base_url=self.url, verify=tls, trust_env=False, timeout=30)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


def start(folder: WitnessFolder, host: str, port: int, before: Sequence[str] = ()) -> Served:
    """Start `strongroom witness serve`, behind a command such as `ip netns exec`."""
    command = [*before, str(STRONGROOM), "witness", "serve", "--data", str(folder.path)]
    log = folder.path.with_suffix(".log")
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*command, "--host", host, "--port", str(port)], stdout=out, stderr=out, start_new_session=True
        )
    served = Served(folder, f"https://{host}:{port}", process)
    deadline = time.monotonic() + _START_S
    with served.client() as client:
        while True:
            try:
                client.get("/")
            except httpx.TransportError:
                if process.poll() is not None or time.monotonic() > deadline:
                    served.stop()
                    raise AssertionError(log.read_text()) from None
                time.sleep(0.1)
            else:
                return served
