"""What may stand where on the command line, read off the commands themselves, for the shells' completion scripts.

Static words are written into the script; for names it holds the kind, and asks when Tab is pressed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from audit.log.record import Kind
from policies.vocabulary import Action, Role, Verdict

#: Kinds of value that are no names: a file of this machine, or whatever somebody makes up.
FILE: Final = "file"
FREE: Final = "free"

_FILE_OPTIONS: Final = frozenset(
    {
        "--passphrase-file", "--password-file", "--admin-password-file", "--old-password-file", "--token-file", "--out",
        "--data", "--config", "--ca-file", "--trust",
    }
)  # fmt: skip
_NAMING_OPTIONS: Final[Mapping[str, str]] = {"--image": "image", "--as": "profile"}
_WORDS_OF_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "--role": tuple(Role),
    "--label": ("ephi", "chd"),
    "--kind": tuple(Kind),
    "--action": tuple(Action),
    "--decision": tuple(Verdict),
    "--seal": ("passphrase",),
    "--format": ("qcow2", "raw"),
    "--only": ("memory", "files", "leftovers", "certificate", "libvirt", "programs", "space", "clock"),
}
#: What a command's arguments are, by its words. What is not told here is whatever somebody makes up.
_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "login": ("account",),
    "verify": (FILE,),
    "guest create": (FREE,),
    "guest show": ("guest",),
    "guest start": ("guest",),
    "guest stop": ("guest",),
    "guest delete": ("guest",),
    "guest exec": ("guest", FREE),
    "guest cp": (FILE, FILE),
    "image build": ("=debian-12",),
    "image import": (FREE, FILE),
    "image verify": ("image",),
    "key show": ("key",),
    "audit show": (FREE,),
    "account create": (FREE,),
    "account disable": ("account",),
    "token revoke": ("token",),
    "policy check": (FILE,),
    "job show": ("job",),
    "job wait": ("job",),
    "job cancel": ("job",),
    "finding show": ("finding",),
    "finding acknowledge": ("finding",),
    "finding close": ("finding",),
    "completion bash": (),
    "completion zsh": (),
    "completion fish": (),
}


@dataclass(frozen=True, slots=True)
class Words:
    """What may follow one command.

    Attributes:
        path: the command, as `guest start`; empty for `strongroom` itself.
        commands: words that go on with it.
        options: its options.
        values: kind of value by option; `=a b` are words, a flag is absent.
        arguments: kind of each argument; the last repeats where more are given.
    """

    path: str
    commands: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


def read_words(command: Any, path: str = "") -> Iterator[Words]:  # noqa: ANN401 - typer's own types are private
    """Read a command and all below it."""
    inner: Mapping[str, Any] = {
        name: one for name, one in getattr(command, "commands", {}).items() if not one.hidden
    }
    options = [one for one in command.params if one.param_type_name == "option"]
    yield Words(
        path,
        tuple(inner),
        tuple(sorted({name for one in options for name in (*one.opts, *one.secondary_opts)} | {"--help"})),
        {
            name: _kind_of(name)
            for one in options
            if not one.is_flag
            for name in one.opts
            if name != "--watch"
        },
        _ARGUMENTS.get(path, ()),
    )
    for name, one in inner.items():
        yield from read_words(one, f"{path} {name}".strip())


def _kind_of(option: str) -> str:
    if option in _FILE_OPTIONS:
        return FILE
    words = _WORDS_OF_OPTIONS.get(option)
    return f"={' '.join(words)}" if words else _NAMING_OPTIONS.get(option, FREE)
