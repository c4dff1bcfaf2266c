"""A witness's folder: key, memory and certificate, made once and opened to serve.

It needs no site: a witness belongs on another machine, with another administrator, or it witnesses nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from audit.log.cosignature import CosigningKey
from audit.witness.store import WitnessStore
from vault.errors import BadInput, Conflict, HostFailure, NotFound
from vault.tls import make_certificate

_KEY, _MEMORY = "witness.key", "witness.db"


@dataclass(frozen=True, slots=True)
class WitnessFolder:
    """A witness.

    Attributes:
        path: its folder, with `tls.crt` and `tls.key`.
        key: what it cosigns with.
        store: what it remembers.
    """

    path: Path
    key: CosigningKey
    store: WitnessStore

    @property
    def certificate(self) -> Path:
        """The certificate that logs are given to know it by."""
        return self.path / "tls.crt"

    @classmethod
    def create(cls, path: Path, name: str, host: str) -> "WitnessFolder":
        """Make a witness.

        Args:
            path: folder, absent or empty.
            name: what it signs as, like a URL without scheme: `witness.example/w1`.
            host: name or address that it listens on, for its certificate.

        Raises:
            Conflict: there is something in the folder.
            BadInput: name or host cannot be used.
            HostFailure: the folder cannot be made.
        """
        if not name or any(not "!" <= character <= "~" or character == "+" for character in name):
            raise BadInput(
                f"A witness cannot be called {name!r}.",
                "Use a name like witness.example/w1: plain characters, no spaces, no plus sign.",
            )
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise Conflict(
                    f"{path} is not empty.", "Name another folder; a witness's is never made again."
                )
            path.chmod(0o700)
            make_certificate(path, host)
        except OSError as error:
            raise HostFailure(f"{path} cannot be made: {error.strerror}.", "Name another folder.") from error
        store = WitnessStore.create(path / _MEMORY)
        # The key last: with it the witness is whole.
        return cls(path, CosigningKey.create(path / _KEY, name), store)

    @classmethod
    def open(cls, path: Path) -> "WitnessFolder":
        """Open a witness.

        Raises:
            NotFound: there is none.
            LogKeyRefused: its key cannot be used.
            LogUnavailable: its memory cannot be read.
        """
        if not (path / _KEY).exists() or not (path / _MEMORY).is_file():
            raise NotFound(f"There is no witness in {path}.", "Make one with `strongroom witness init`.")
        store = WitnessStore(path / _MEMORY)
        store.logs()
        return cls(path, CosigningKey.load(path / _KEY), store)
