"""The parts of the site, for the menu: only those that exist and that the policy lets this person see."""

from dataclasses import dataclass

from flask import current_app, request, url_for

from web.views import permitted


@dataclass(frozen=True, slots=True)
class Part:
    """One entry of the menu."""

    name: str
    address: str
    here: bool


#: Name, endpoint of its first page, and the word under which `permitted.pages` answers; None is for everybody.
_PARTS: tuple[tuple[str, str, str | None], ...] = (
    ("Overview", "pages.home.show", None),
    ("Guests", "pages.guests.show_all", "guests"),
    ("Jobs", "pages.jobs.show_all", None),
    ("Log", "pages.log.show_all", "log"),
    ("Reports", "pages.reports.show_all", "reports"),
    ("Findings", "pages.findings.show_all", "findings"),
    ("Keys", "pages.keys.show_all", "keys"),
    ("Policy", "pages.policy.show_all", "policy"),
    ("Accounts", "pages.accounts.show_all", "accounts"),
    ("Health", "pages.health.show", "health"),
)


#: Where else a part's entry is marked as the place where one is.
_PLACES = {"Guests": ("pages.guests.", "pages.new_guest.")}


def menu() -> list[Part]:
    """The menu for whoever is logged in."""
    may_see, asked = permitted.pages(), request.endpoint or ""
    return [
        Part(
            name, url_for(endpoint), asked.startswith(_PLACES.get(name, (f"{endpoint.rsplit('.', 1)[0]}.",)))
        )
        for name, endpoint, word in _PARTS
        if endpoint in current_app.view_functions and (word is None or may_see[word])
    ]
