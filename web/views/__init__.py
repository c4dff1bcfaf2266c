"""The pages, by subject. They show what operations return, and change things by forms with a token."""

from apiflask import APIBlueprint

from web.views import (
    accounts,
    findings,
    guests,
    health,
    home,
    jobs,
    keys,
    log,
    new_guest,
    own,
    policy,
    reports,
    session,
    verification,
    words,
)

_SUBJECTS = (
    *(home, session, guests, new_guest, jobs, log, verification),
    *(reports, findings, keys, policy, accounts, own, health),
)


def blueprint() -> APIBlueprint:
    """All pages; none of them is part of the API's description, which each says for itself."""
    whole = APIBlueprint("pages", __name__)
    for subject in _SUBJECTS:
        whole.register_blueprint(subject.routes)
    words.install(whole)
    return whole
