"""The REST API under /api/v1. Each module translates one subject's requests into operations, and nothing more."""

from apiflask import APIBlueprint

from web.api import (
    accounts,
    findings,
    guests,
    host,
    images,
    jobs,
    keys,
    keystore,
    log,
    metrics,
    policies,
    reports,
    sessions,
    site,
)

_SUBJECTS = (
    site,
    sessions,
    accounts,
    keystore,
    guests,
    images,
    keys,
    log,
    metrics,
    policies,
    reports,
    findings,
    host,
    jobs,
)


def blueprint() -> APIBlueprint:
    """All subjects under one address."""
    whole = APIBlueprint("api", __name__)
    for subject in _SUBJECTS:
        whole.register_blueprint(subject.routes)
    return whole
