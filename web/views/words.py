"""How values are written on pages: sizes, times, states, shortened ids."""

import json
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, g
from markupsafe import Markup, escape

from web.site import site
from web.views import navigation, permitted

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_TYPED_UNITS = ("", "K", "M", "G", "T")
_AGES = (("year", 31_536_000), ("month", 2_592_000), ("day", 86_400), ("hour", 3_600), ("minute", 60))
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
    "waiting": "warn",
    "cancelled": "quiet",
}


def size(size_bytes: int) -> str:
    """Bytes as people write them: 768 MiB, 4 GiB."""
    value, unit = float(size_bytes), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{value:.0f} {_UNITS[unit]}" if value.is_integer() else f"{value:.1f} {_UNITS[unit]}"


def written_size(size_bytes: int) -> str:
    """Bytes as people type them: 768M, 4G; exact, so that what is typed back is the same."""
    unit = 0
    while size_bytes >= 1024 and size_bytes % 1024 == 0 and unit < len(_TYPED_UNITS) - 1:
        size_bytes, unit = size_bytes // 1024, unit + 1
    return f"{size_bytes}{_TYPED_UNITS[unit]}"


def deed(action: str) -> str:
    """An action as people say it: `guest.start` is "Start guest"."""
    subject, _, verb = action.partition(".")
    return f"{verb.replace('_', ' ').capitalize()} {subject}"


def age(at: str | datetime | None) -> str:
    """How long ago an instant is, roughly: "3 days ago"."""
    if not at:
        return "never"
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    passed_s = max((datetime.now(UTC) - moment).total_seconds(), 0)
    for name, seconds in _AGES:
        if passed_s >= seconds:
            count = int(passed_s // seconds)
            return f"{count} {name}{'' if count == 1 else 's'} ago"
    return "just now"


def when(at: str | datetime | None) -> str:
    """An instant to the second, in UTC."""
    if not at:
        return "never"
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def span(seconds: int) -> str:
    """A length of time as people say it, by its largest unit: 40 s, 5 min, 3 h, 12 days."""
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 2 * 3600:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 48 * 3600 else f"{seconds // 86400} days"


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
    pages.add_app_template_filter(deed, "deed")
    pages.add_app_template_filter(when, "when")
    pages.add_app_template_filter(span, "span")
    pages.add_app_template_filter(age, "age")
    pages.add_app_template_filter(short, "short")
    pages.add_app_template_filter(tone, "tone")
    pages.add_app_template_filter(pretty, "pretty")
    pages.add_app_template_filter(coded, "coded")

    @pages.app_context_processor
    def head() -> dict[str, Any]:
        user = g.get("user")
        if user is None:
            return {"account": None, "may_see": {}, "navigation": [], "emulated": False}
        return {
            "account": user.login.account,
            "may_see": permitted.pages(),
            "navigation": navigation.menu(),
            "emulated": site().accelerators.known_kind() == "tcg",
        }
