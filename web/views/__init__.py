"""The pages, by subject. They show what operations return, and change things by forms with a token."""

from apiflask import APIBlueprint

from web.views import guests, home, jobs, log, new_guest, session, words

_SUBJECTS = (home, session, guests, new_guest, jobs, log)


def blueprint() -> APIBlueprint:
    """All pages; none of them is part of the API's description, which each says for itself."""
    whole = APIBlueprint("pages", __name__)
    for subject in _SUBJECTS:
        whole.register_blueprint(subject.routes)
    words.install(whole)
    return whole
