"""Where secrets come from: a file, standard input, or a prompt. Never an argument, never the environment."""

import getpass
import os
import stat
import sys
from pathlib import Path

from web.cli.failure import BadUsage

#: A passphrase longer than this is a wrong file.
_MAX_BYTES = 4096


def read_secret(file: str | None, prompt: str, option: str, *, confirm: bool = False) -> str:
    """Read a secret; one line feed at the end of a file is not part of it.

    Args:
        file: path of a file, `-` for standard input, None to ask.
        prompt: what to ask on the terminal.
        option: the option that names the file, for the sentence when nobody can be asked.
        confirm: ask twice, because a mistake could not be undone.

    Raises:
        BadUsage: the file cannot be read or is empty, or there is neither file nor terminal.
    """
    if file is None:
        return _ask(prompt, option, confirm=confirm)
    raw = sys.stdin.buffer.read(_MAX_BYTES + 1) if file == "-" else _read_file(Path(file))
    if len(raw) > _MAX_BYTES:
        raise BadUsage(f"{_name(file)} is too long for a secret.", f"Name the right file with {option}.")
    try:
        secret = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise BadUsage(
            f"{_name(file)} is not text in UTF-8.", f"Name the right file with {option}."
        ) from None
    if not secret:
        raise BadUsage(f"{_name(file)} is empty.", f"Name the right file with {option}.")
    return secret


def only_one_reads_stdin(*files: str | None) -> None:
    """Refuse two secrets from standard input: they could not be told apart.

    Raises:
        BadUsage: more than one is `-`.
    """
    if sum(file == "-" for file in files) > 1:
        raise BadUsage("Only one secret can come from standard input.", "Give the others in files.")


def _ask(prompt: str, option: str, *, confirm: bool) -> str:
    if not sys.stdin.isatty():
        raise BadUsage(
            "There is no terminal to ask on.", f"Give a file with {option} (- reads standard input)."
        )
    secret = getpass.getpass(f"{prompt}: ")
    if confirm and getpass.getpass(f"{prompt}, once more: ") != secret:
        raise BadUsage("The two entries differ.", "Try again.")
    if not secret:
        raise BadUsage("Nothing was entered.", "Try again.")
    return secret


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                print(f"Warning: others may read {path}; `chmod 600` it.", file=sys.stderr)
            return file.read(_MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or "it failed").lower()
        raise BadUsage(f"{path} cannot be read: {reason}.", "Name a file that you may read.") from None


def _name(file: str) -> str:
    return "Standard input" if file == "-" else file
