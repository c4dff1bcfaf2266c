"""The first page: what each role looks for first, and on a new site what to do next.

It asks only for what its reader may see: a page that everybody opens must not fill the log with denials.
"""

from dataclasses import dataclass
from typing import Any, Final

from apiflask import APIBlueprint
from flask import render_template, url_for

from policies.vocabulary import Action, Role
from vault.model import JobState
from vault.operations import accounts, findings, glance, guest_list, images, keystore, reports
from web import long_work
from web.guard import caller, user
from web.site import site
from web.views import charts, permitted
from web.views.words import size

routes = APIBlueprint("home", __name__, enable_openapi=False)

_VIEW: Final = "home"
_LATEST: Final = 5
_JOBS_LOOKED_AT: Final = 50


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do on a new site."""

    done: bool
    name: str
    sentence: str
    command: str
    address: str | None = None


@routes.get("/")
def show() -> str:
    """Show what the reader's roles need first."""
    here, who, may_see = site(), caller(), permitted.pages()
    roles = {Role(role) for role in user().login.account.roles}
    status = keystore.status(here)
    jobs = [long_work.view(job) for job in long_work.latest(_JOBS_LOOKED_AT)]
    guests = guest_list.list_guests(here, who, view=_VIEW)["items"] if may_see["guests"] else None
    people = accounts.list_accounts(here, who, view=_VIEW)["items"] if may_see["accounts"] else None
    told = glance.log_today(here, who) if may_see["log"] else None
    return render_template(
        "home.html",
        status=status,
        roles=roles,
        guests=guests,
        people=people,
        findings=findings.list_findings(here, who)["items"] if may_see["findings"] else None,
        reports=reports.list_reports(here, who, view=_VIEW)["items"][:_LATEST]
        if may_see["reports"]
        else None,
        glance=told,
        denied_chart=_denied_chart(told) if told else None,
        capacity=_capacity() if Role.OPERATOR in roles and may_see["health"] else None,
        jobs=jobs[:_LATEST],
        running=sum(job["state"] == JobState.RUNNING for job in jobs),
        steps=_first_steps(status, people, guests) if Role.ADMINISTRATOR in roles else [],
        may_create=permitted.may_create_guest(),
    )


def _denied_chart(told: dict[str, Any]) -> Any:  # noqa: ANN401 - Markup, which has no types of its own here
    shown = [charts.Bar(day["day"][5:], day["count"], "bad") for day in told["denied"]]
    return charts.bars(f"Denied accesses a day, the last {glance.DENIED_DAYS} days", shown)


def _capacity() -> list[dict[str, Any]]:
    """What the machine has and what is taken, each with a strip."""
    found = glance.capacity(site(), caller())
    rows = (
        ("Memory", found["memory_running_bytes"], found["memory_bytes"], size),
        ("vCPUs", found["vcpus_running"], found["cpus"], str),
        ("Disk", found["disk_bytes"] - found["disk_free_bytes"], found["disk_bytes"], size),
    )
    return [
        {
            "name": name,
            "sentence": f"{write(taken)} of {write(whole)}",
            "strip": charts.strip(
                f"{name}: {write(taken)} of {write(whole)} taken",
                whole,
                [charts.Share(f"{write(taken)} taken", taken, "bad" if taken > whole else "")],
            ),
        }
        for name, taken, whole, write in rows
    ]


def _first_steps(
    status: dict[str, Any], people: list[dict[str, Any]] | None, guests: list[dict[str, Any]] | None
) -> list[Step]:
    """What a new site still needs, in order; empty once all of it is done."""
    known = (
        images.list_images(site(), caller(), view=_VIEW)["items"] if permitted.may(Action.IMAGE_LIST) else []
    )
    operators = [person for person in people or [] if Role.OPERATOR in person["roles"] and person["active"]]
    steps = [
        Step(
            not status["sealed"],
            "Unseal the key store",
            "Until then no guest can be made or started.",
            "strongroom unseal",
            url_for("pages.keys.show_all") if permitted.pages()["keys"] else None,
        ),
        Step(
            bool(operators),
            "Make accounts",
            "At least an operator; an officer and an auditor for the evidence.",
            "strongroom account create olga --role operator",
            url_for("pages.accounts.show_all"),
        ),
        Step(bool(known), "Build an image", "What guests begin with.", "strongroom image build debian-12"),
        Step(
            bool(guests),
            "Create a guest",
            "An operator does this, here under Guests or on the command line.",
            "strongroom guest create first --image debian-12 --vcpus 1 --memory 768M --disk 4G",
        ),
    ]
    return [] if all(step.done for step in steps) else steps
