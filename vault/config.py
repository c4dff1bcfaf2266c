"""Settings: flags over `STRONGROOM_*` variables over one TOML file over defaults.

Each setting remembers where it came from, so that `strongroom settings` can show it. Secrets are never
settings: they come from files, standard input or a prompt.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from audit.errors import NoteInvalid
from audit.log.cosignature import CosignerKey
from vault.errors import BadInput

#: QEMU runs as another user and cannot enter /root or a 0700 home, so disks live here.
DEFAULT_DATA_DIR = Path("/var/lib/strongroom/main")
DEFAULT_RUN_DIR = Path("/run/strongroom")
_PREFIX = "STRONGROOM_"
_ABOUT, _ALLOWED = "about", "allowed"
_INSTANCE = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """A witness that the log asks to cosign its checkpoints.

    Attributes:
        url: https:// address, to which `/add-checkpoint` is appended.
        key: its public key.
        ca_file: certificate to know it by; None takes the authorities that the host trusts.
    """

    url: str
    key: CosignerKey
    ca_file: Path | None = None

    def document(self) -> dict[str, str]:
        """As it stands in the settings file."""
        ca_file = {} if self.ca_file is None else {"ca_file": str(self.ca_file)}
        return {"url": self.url, "vkey": str(self.key)} | ca_file


def _setting(default: Any, about: str, allowed: str | tuple[int, int] = "") -> Any:  # noqa: ANN401 - each has its own type
    """A setting: its default, what it is for, and what it may be (a range of whole numbers, or words)."""
    return field(default=default, metadata={_ABOUT: about, _ALLOWED: allowed})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. What each is for and may be stands beside it, and `strongroom settings` shows it."""

    data_dir: Path = _setting(
        DEFAULT_DATA_DIR, "The instance's folder; its last part is the instance's name."
    )
    run_dir: Path = _setting(
        DEFAULT_RUN_DIR, "Where memory that does not swap is mounted for secrets in files."
    )
    cache_dir: Path = _setting(
        Path("/var/cache/strongroom"), "Built images and templates that instances share."
    )
    key_store_dir: Path | None = _setting(
        None, "Where the key store lies, `keystore` in the data folder by itself; another device is better."
    )
    host: str = _setting("localhost", "Name or address the daemon listens on.")
    port: int = _setting(8443, "Port the daemon listens on.", (1, 65535))
    libvirt_uri: str = _setting("qemu:///system", "The hypervisor.")
    network: str = _setting(
        "strongroom", "libvirt's name of the guests' network; instances of a host share it."
    )
    accelerator: str = _setting(
        "auto", "`auto` boots a probe guest under KVM; `kvm` and `tcg` take your word.", "auto, kvm or tcg"
    )
    idle_timeout_s: int = _setting(
        900, "A session unused for so long ends (PCI 8.2.8: at most 15 minutes).", (60, 900)
    )
    session_limit_s: int = _setting(12 * 3600, "A session ends after so long in any case.", (300, 7 * 86400))
    password_min_length: int = _setting(12, "PCI 8.3.6 asks for 12.", (12, 128))
    lockout_tries: int = _setting(10, "Wrong passwords until an account is locked (PCI 8.3.4: 10).", (1, 10))
    lockout_s: int = _setting(
        1800, "How long it stays locked (PCI 8.3.4: at least 30 minutes).", (1800, 86400)
    )
    log_retention_days: int = _setting(6 * 366, "How long records are kept: six years.", (365, 36600))
    log_timeout_s: int = _setting(5, "How long an access waits for its record to become durable.", (1, 60))
    witnesses: tuple[WitnessAddress, ...] = _setting(
        (), "Witnesses that cosign checkpoints; only in the settings file.", "tables with url, vkey, ca_file"
    )
    witness_quorum: int = _setting(1, "An export waits for so many of the witnesses.", (1, 16))
    witness_max_age_s: int = _setting(900, "A cosignature older than this is a finding.", (60, 7 * 86400))
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


_NAMES = tuple(setting.name for setting in fields(Settings) if setting.name != "origins")
_ALLOWED_OF: Mapping[str, str | tuple[int, int]] = {
    setting.name: setting.metadata[_ALLOWED] for setting in fields(Settings) if setting.name in _NAMES
}
#: Variables that begin as settings' do and are none.
_OTHER_VARIABLES = frozenset({"CONFIG", "URL", "CA_FILE", "CREDENTIALS", "TRACEBACK"})


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
        ("environment", {name: environment.get(_variable(name)) for name in _NAMES}),
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
    for name in _NAMES:
        origins[name] = "default"
        for layer_name, layer in layers:
            raw = layer.get(name)
            if raw is not None:
                origin = f"environment {_variable(name)}" if layer_name == "environment" else layer_name
                values[name] = _parse(name, raw, origin)
                origins[name] = origin
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
    for name in document:
        if name not in _NAMES:
            near = difflib.get_close_matches(name, _NAMES, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "Take it out; see `strongroom settings`."
            raise BadInput(f"The settings file {path} has an unknown setting {name!r}.", hint)
    return document


def _parse(name: str, raw: object, origin: str) -> object:
    allowed = _ALLOWED_OF[name]
    if isinstance(allowed, tuple):
        low, high = allowed
        try:
            number = int(str(raw))
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise BadInput(
                f"The setting {name} (from {origin}) must be a whole number from {low} to {high}, not {raw!r}."
            )
        return number
    if name == "witnesses":
        return _parse_witnesses(raw, origin)
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


def _parse_witnesses(raw: object, origin: str) -> tuple[WitnessAddress, ...]:
    if not isinstance(raw, list) or not all(isinstance(each, dict) for each in raw):
        raise BadInput(
            f"The setting witnesses (from {origin}) must be a list of tables.",
            'Write it into config.toml: witnesses = [{url = "https://…", vkey = "…", ca_file = "…"}].',
        )
    witnesses = tuple(_parse_witness(each, origin) for each in raw)
    if len({each.key.public for each in witnesses}) != len(witnesses):
        raise BadInput(f"The setting witnesses (from {origin}) names a key twice.", "Each counts once.")
    return witnesses


def _parse_witness(raw: Mapping[str, object], origin: str) -> WitnessAddress:
    where = f"A witness in the settings (from {origin})"
    if not {"url", "vkey"} <= raw.keys() <= {"url", "vkey", "ca_file"}:
        raise BadInput(f"{where} must have url and vkey, may have ca_file, and nothing else.")
    url, vkey, ca_file = str(raw["url"]).rstrip("/"), raw["vkey"], raw.get("ca_file")
    if not url.startswith("https://"):
        raise BadInput(f"{where} has the url {url!r}, which is no https:// address.")
    try:
        key = CosignerKey.parse(str(vkey))
    except NoteInvalid as error:
        raise BadInput(
            f"{where} has a vkey that cannot be used. {error.message}", "Copy what `witness show` prints."
        ) from error
    if ca_file is None:
        return WitnessAddress(url, key)
    path = Path(str(ca_file))
    if not path.is_absolute() or not path.is_file():
        raise BadInput(f"{where} has the ca_file {str(path)!r}, which is no file by its whole path.")
    return WitnessAddress(url, key, path)


def describe_settings(settings: Settings) -> list[dict[str, Any]]:
    """Each setting with its value, where that came from, its default, what it is for and what it may be."""
    described = []
    for setting in fields(Settings):
        if setting.name not in _NAMES:
            continue
        allowed = setting.metadata[_ALLOWED]
        described.append(
            {
                "name": setting.name,
                "value": _plain(getattr(settings, setting.name)),
                "origin": settings.origins.get(setting.name, "default"),
                "default": _plain(setting.default),
                "about": setting.metadata[_ABOUT],
                "allowed": f"{allowed[0]} to {allowed[1]}" if isinstance(allowed, tuple) else allowed,
            }
        )
    return described


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """A sentence for each variable that looks like a setting of ours and is none: mistyped, it would go unseen."""
    known = [_variable(name) for name in _NAMES] + [f"{_PREFIX}{name}" for name in sorted(_OTHER_VARIABLES)]
    sentences = []
    for variable in sorted(environment):
        if variable.startswith(_PREFIX) and variable not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            sentences.append(f"The variable {variable} is no setting, so it changes nothing.{meant}")
    return sentences


def _variable(name: str) -> str:
    return f"{_PREFIX}{name.upper()}"


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [each.document() for each in value]
    return str(value) if isinstance(value, Path) else value


def written_settings(settings: Settings) -> str:
    """The settings that do not have their default, as the text of `config.toml`.

    The data folder is left out: it is where the file lies.
    """
    lines = ["# Settings of this instance; see docs/command-line.md."]
    for name, origin in settings.origins.items():
        value = getattr(settings, name)
        if origin != "default" and name != "data_dir" and value is not None:
            written = str(value) if isinstance(value, int) else _toml(value)
            lines.append(f"{name} = {written}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        tables = (
            ", ".join(f"{name} = {_toml(text)}" for name, text in each.document().items()) for each in value
        )
        return "[" + ", ".join(f"{{{table}}}" for table in tables) + "]"
    return json.dumps(str(value), ensure_ascii=False)
