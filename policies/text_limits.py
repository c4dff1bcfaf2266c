"""What policy text may reach Cedar's parser.

The parser recurses: about 660 nested brackets overflow an 8 MiB stack and kill the whole process, and
no Python code can catch that. A bundle may come from a person (`policy check`), so its text is measured
here first, by a scanner that does not recurse. Comments and strings are cut exactly as Cedar's own
grammar cuts them, and brackets must match, so nesting cannot hide from the count.
"""

import re

from policies.errors import BundleInvalid

#: All files of a bundle together.
MAX_BUNDLE_BYTES = 1024 * 1024
#: Brackets open at once. The shipped files need 3; the parser dies at about 660.
MAX_NESTING = 32
#: Tokens up to a semicolon. Chains such as `a.b.c` or `if ... then if ...` nest without brackets; the
#: parser dies at about 4,400 links of the worst kind.
MAX_STATEMENT_TOKENS = 2_000

_TOKEN = re.compile(
    r"""
      (?P<skip>    \s+ | //[^\n\r]* )
    | (?P<string>  "(?:\\[^\n]|[^"\\])*" )
    | (?P<open>    [(\[{] )
    | (?P<close>   [)\]}] )
    | (?P<end>     ; )
    | (?P<other>   [A-Za-z_0-9]+ | && | \|\| | :: | [=!<>]= | [^"] )
    | (?P<quote>   " )
    """,
    re.VERBOSE,
)
_PARTNER = {")": "(", "]": "[", "}": "{"}


def decode_text(file: str, content: bytes) -> str:
    """Decode and measure one file of a bundle.

    Args:
        file: the file's name, for the error's sentence.
        content: its bytes; UTF-8.

    Raises:
        BundleInvalid: not UTF-8, an open string or bracket, nested too deeply, or a statement too long.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleInvalid(f"File {file} is not UTF-8 text (byte {error.start}).") from None
    _measure(file, text)
    return text


def _measure(file: str, text: str) -> None:
    still_open: list[str] = []
    tokens = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "skip":
            continue
        if kind == "quote":
            raise BundleInvalid(
                f"File {file} opens a string on line {_line(text, match)} and never closes it."
            )
        tokens = 0 if kind == "end" else tokens + 1
        if tokens > MAX_STATEMENT_TOKENS:
            raise BundleInvalid(
                f"File {file} has a statement of more than {MAX_STATEMENT_TOKENS} words up to line "
                f"{_line(text, match)}.",
                "Split the policy into several.",
            )
        if kind == "open":
            still_open.append(match.group())
        elif kind == "close":
            _close(file, text, match, still_open)
        if len(still_open) > MAX_NESTING:
            raise BundleInvalid(
                f"File {file} nests deeper than {MAX_NESTING} brackets on line {_line(text, match)}."
            )
    if still_open:
        raise BundleInvalid(f"File {file} ends while a bracket is still open.")


def _close(file: str, text: str, match: re.Match[str], still_open: list[str]) -> None:
    if not still_open or still_open.pop() != _PARTNER[match.group()]:
        raise BundleInvalid(f"File {file} closes a bracket on line {_line(text, match)} that is not open.")


def _line(text: str, match: re.Match[str]) -> int:
    return text.count("\n", 0, match.start()) + 1
