"""The word that was probably meant, for sentences that end in "Did you mean …?"."""

import difflib
import re
from collections.abc import Iterable
from typing import Any, Final

from web.cli.failure import BadUsage

_UNKNOWN_COMMAND: Final = re.compile(r"No such command '([^']*)'")


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that looks most like the word, or the only one that begins with it."""
    known = sorted({str(one) for one in candidates})
    begun = [one for one in known if word and one.startswith(word)]
    if len(begun) == 1:
        return begun[0]
    close = difflib.get_close_matches(word, known, n=1)
    return close[0] if close else None


def one_of(word: str | None, candidates: Iterable[str], what: str) -> None:
    """Refuse a word that is none of the candidates, so that a filter does not quietly find nothing.

    Raises:
        BadUsage: it is none.
    """
    known = sorted({str(one) for one in candidates})
    if word is None or word in known:
        return
    near = nearest(word, known)
    hint = f"Did you mean {near!r}?" if near else f"There are: {', '.join(known)}."
    raise BadUsage(f"There is no {what} {word!r}.", hint)


def usage_sentence(error: Any) -> str:  # noqa: ANN401 - typer's own error types are private
    """What was wrong with a command line, with the word that was meant where there is one like it."""
    sentence: str = error.format_message().strip().replace("\n", " ")
    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None)
    if option is not None and context is not None:
        # Options of strongroom itself may stand anywhere.
        params = [*context.command.params, *context.find_root().command.params]
        known = [name for one in params for name in (*one.opts, *one.secondary_opts)]
        near = nearest(str(option), [name for name in known if name.startswith("--")])
        return f"There is no option {option} here." + (f" Did you mean {near}?" if near else "")
    unknown = _UNKNOWN_COMMAND.match(sentence)
    if unknown is not None and "Did you mean" not in sentence and context is not None:
        near = nearest(unknown[1], getattr(context.command, "commands", {}))
        return sentence + (f" Did you mean {near!r}?" if near else "")
    return sentence
