"""How values are written on pages: sizes, times, states, shortened ids."""

import json
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, g
from markupsafe import Markup, escape

from web.views import navigation, permitted

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
#: Which colour a word has. A word that is not here is neutral; the word itself always says it too.
_TONES = {
    "running": "good",
    "unsealed": "good",
    "acting": "good",
    "allow": "good",
    "ok": "good",
    "done": "good",
    "sealed": "warn",
    "pending": "warn",
    "unmet": "warn",
    "medium": "warn",
    "warning": "warn",
    "paused": "warn",
    "stopped": "quiet",
    "shut off": "quiet",
    "off": "quiet",
    "deny": "bad",
    "denied": "bad",
    "failed": "bad",
    "critical": "bad",
    "high": "bad",
    "external": "bad",
    "recovery": "warn",
}


def size(size_bytes: int) -> str:
    """Bytes as people write them: 768 MiB, 4 GiB."""
    value, unit = float(size_bytes), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{value:.0f} {_UNITS[unit]}" if value.is_integer() else f"{value:.1f} {_UNITS[unit]}"


def when(at: str | datetime | None) -> str:
    """An instant to the second, in UTC."""
    if not at:
        return "never"
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def short(written: str | None) -> str:
    """A reference or digest that fits a table: `guest:1f0c9a2e…`."""
    if not written:
        return "—"
    prefix, colon, rest = written.partition(":")
    if not colon:
        prefix, rest = "", written
    return f"{prefix}{colon}{rest[:8]}…" if len(rest) > 14 else written


def tone(word: str | None) -> str:
    """The tone a state is shown in."""
    return _TONES.get((word or "").lower(), "quiet" if word in {None, ""} else "plain")


def pretty(document: object) -> str:
    """A JSON document, indented."""
    return json.dumps(document, ensure_ascii=False, indent=2)


def coded(sentence: str) -> Markup:
    """A sentence whose commands, written in backquotes, are shown as such."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:
        return escape(sentence)
    written = (
        Markup("<code>{}</code>").format(part) if nth % 2 else escape(part) for nth, part in enumerate(parts)
    )
    return Markup("").join(written)


def install(pages: Blueprint) -> None:
    """Give the templates these words, and what the page's head needs."""
    pages.add_app_template_filter(size, "size")
    pages.add_app_template_filter(when, "when")
    pages.add_app_template_filter(short, "short")
    pages.add_app_template_filter(tone, "tone")
    pages.add_app_template_filter(pretty, "pretty")
    pages.add_app_template_filter(coded, "coded")

    @pages.app_context_processor
    def head() -> dict[str, Any]:
        user = g.get("user")
        if user is None:
            return {"account": None, "may_see": {}, "navigation": []}
        return {"account": user.login.account, "may_see": permitted.pages(), "navigation": navigation.menu()}
