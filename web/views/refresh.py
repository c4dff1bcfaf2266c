"""Pages that refresh a part of themselves: htmx asks for the part, a browser without script for the whole page."""

from flask import request


def wants_part() -> bool:
    """Say whether a page of ours asks for the part of it that changes."""
    return "HX-Request" in request.headers
