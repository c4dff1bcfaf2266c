"""Settings: flags over `STRONGROOM_*` variables over one TOML file over defaults.

Each setting remembers where it came from, so that `strongroom doctor` can show it. Secrets are never
settings: they come from files, standard input or a prompt.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from vault.errors import BadInput

#: QEMU runs as another user and cannot enter /root or a 0700 home, so disks live here.
DEFAULT_DATA_DIR = Path("/var/lib/strongroom/main")
DEFAULT_RUN_DIR = Path("/run/strongroom")
_INSTANCE = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set.

    Attributes:
        data_dir: the instance's folder; its last part is the instance's name.
        run_dir: where memory that does not swap is mounted for secrets in files.
        cache_dir: built images and templates that instances share.
        key_store_dir: where the key store lies; another device is better than the data's.
        host, port: address of the daemon.
        libvirt_uri: the hypervisor.
        network: libvirt's name of the guests' network; instances of a host share it.
        accelerator: `auto` boots a probe guest; `kvm` and `tcg` take your word.
        idle_timeout_s: a session unused for so long ends (PCI 8.2.8: at most 15 minutes).
        session_limit_s: a session ends after so long in any case.
        password_min_length: PCI 8.3.6 asks for 12.
        lockout_tries, lockout_s: PCI 8.3.4 asks for at most 10 tries and at least 30 minutes.
        log_retention_days: six years by our policy.
        log_timeout_s: how long an access waits for its record to become durable.
    """

    data_dir: Path = DEFAULT_DATA_DIR
    run_dir: Path = DEFAULT_RUN_DIR
    cache_dir: Path = Path("/var/cache/strongroom")
    key_store_dir: Path | None = None
    host: str = "localhost"
    port: int = 8443
    libvirt_uri: str = "qemu:///system"
    network: str = "strongroom"
    accelerator: str = "auto"
    idle_timeout_s: int = 900
    session_limit_s: int = 12 * 3600
    password_min_length: int = 12
    lockout_tries: int = 10
    lockout_s: int = 1800
    log_retention_days: int = 6 * 366
    log_timeout_s: int = 5
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def instance(self) -> str:
        """Name of the instance: the last part of the data folder."""
        return self.data_dir.name

    @property
    def url(self) -> str:
        """Where the daemon answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host  # an IPv6 address (RFC 3986 section 3.2.2)
        return f"https://{host}:{self.port}"

    @property
    def log_db(self) -> Path:
        """The log."""
        return self.data_dir / "log.db"

    @property
    def state_db(self) -> Path:
        """What exists and what it should be."""
        return self.data_dir / "state.db"

    @property
    def secrets_dir(self) -> Path:
        """Keys that must work while the key store is sealed: log, TLS, sessions."""
        return self.data_dir / "secrets"

    @property
    def keystore_dir(self) -> Path:
        """Where the wrapped keys lie."""
        return self.key_store_dir or self.data_dir / "keystore"

    @property
    def memory_dir(self) -> Path:
        """Folder of this instance on memory that does not swap."""
        return self.run_dir / self.instance


_BOUNDS: Mapping[str, tuple[int, int]] = {
    "port": (1, 65535),
    "idle_timeout_s": (60, 900),
    "session_limit_s": (300, 7 * 86400),
    "password_min_length": (12, 128),
    "lockout_tries": (1, 10),
    "lockout_s": (1800, 86400),
    "log_retention_days": (365, 36600),
    "log_timeout_s": (1, 60),
}


def load_settings(
    flags: Mapping[str, str | None] | None = None,
    environment: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> Settings:
    """Join flags, environment and file into settings.

    Args:
        flags: settings given on the command line by name; None values are ignored.
        environment: usually the process's; only names beginning with `STRONGROOM_` count.
        file: the TOML file; None looks for `config.toml` in the data folder.

    Raises:
        BadInput: a value cannot be used; the sentence names it and where it came from.
    """
    flags = {k: v for k, v in (flags or {}).items() if v is not None}
    layers: list[tuple[str, Mapping[str, object]]] = [
        ("flag", flags),
        ("environment", {f.name: environment.get(f"STRONGROOM_{f.name.upper()}") for f in fields(Settings)}),
    ]
    data_dir = Path(str(_first(layers, "data_dir") or DEFAULT_DATA_DIR))
    chosen = file or (Path(v) if (v := environment.get("STRONGROOM_CONFIG")) else data_dir / "config.toml")
    named = file is not None or environment.get("STRONGROOM_CONFIG")
    if named and not chosen.is_file():
        raise BadInput(
            f"The settings file {chosen} does not exist.", "Name an existing file, or leave it out."
        )
    if chosen.is_file():
        layers.append((str(chosen), _read_toml(chosen)))
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for setting in fields(Settings):
        if setting.name == "origins":
            continue
        origins[setting.name] = "default"
        for origin, layer in layers:
            raw = layer.get(setting.name)
            if raw is not None:
                values[setting.name] = _parse(setting.name, raw, origin)
                origins[setting.name] = origin
                break
    settings = Settings(**values, origins=origins)  # type: ignore[arg-type] # each was parsed by its name above
    if not _INSTANCE.fullmatch(settings.instance):
        raise BadInput(
            f"The data folder's name {settings.instance!r} cannot name an instance.",
            "Use lower-case letters, digits and hyphens, at most 31, beginning with a letter.",
        )
    return settings


def _first(layers: list[tuple[str, Mapping[str, object]]], name: str) -> object | None:
    for _, layer in layers:
        if layer.get(name) is not None:
            return layer[name]
    return None


def _read_toml(path: Path) -> Mapping[str, object]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(
            f"The settings file {path} cannot be read: {error}.", "Mend it, then try again."
        ) from error
    known = {f.name for f in fields(Settings)} - {"origins"}
    for name in document:
        if name not in known:
            raise BadInput(f"The settings file {path} has an unknown setting {name!r}.", "Take it out.")
    return document


def _parse(name: str, raw: object, origin: str) -> object:
    if name in _BOUNDS:
        low, high = _BOUNDS[name]
        try:
            number = int(str(raw))
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise BadInput(
                f"The setting {name} (from {origin}) must be a whole number from {low} to {high}, not {raw!r}."
            )
        return number
    if not isinstance(raw, str | Path) or not str(raw):
        raise BadInput(f"The setting {name} (from {origin}) must be text.")
    if name.endswith("_dir"):
        path = Path(raw)
        if not path.is_absolute():
            path = Path.cwd() / path
        return path
    if name == "accelerator" and raw not in {"auto", "kvm", "tcg"}:
        raise BadInput(f"The setting accelerator (from {origin}) must be auto, kvm or tcg, not {raw!r}.")
    return str(raw)


def written_settings(settings: Settings) -> str:
    """The settings that do not have their default, as the text of `config.toml`.

    The data folder is left out: it is where the file lies.
    """
    lines = ["# Settings of this instance; see docs/command-line.md."]
    for name, origin in settings.origins.items():
        value = getattr(settings, name)
        if origin != "default" and name != "data_dir" and value is not None:
            written = str(value) if isinstance(value, int) else json.dumps(str(value), ensure_ascii=False)
            lines.append(f"{name} = {written}")
    return "\n".join(lines) + "\n"
