"""What is noted of each request: an id, how long it took, one line in the daemon's log, one count in the metrics.

Invariant: nothing of a request's content, and a route (`/guests/<name>`) in place of its path.
"""

import logging
import secrets
import time
from typing import Final

from flask import Flask, Response, g, request

from audit.log.record import Record
from vault.gate import Gate
from web.daemon_log import request_facts
from web.metrics import Metrics

#: In each answer and each line of the daemon's log, so that a person can name the one and find the other.
REQUEST_ID: Final = "X-Request-Id"
_QUIET: Final = frozenset({"/healthz"})

_log = logging.getLogger("web.access")


def install(app: Flask, gate: Gate, metrics: Metrics) -> None:
    """Note every request of this application, and every record that the gate makes for it."""

    def begin() -> None:
        g.begun_at = time.monotonic()
        # Ours, not the client's: what a client sends could hold anything.
        request_facts.set({"request": secrets.token_hex(8)})

    def end(response: Response) -> Response:
        rule = request.url_rule.rule if request.url_rule else None
        took_s = time.monotonic() - g.begun_at if "begun_at" in g else 0.0
        metrics.count_request(request.method, rule, response.status_code, took_s)
        facts = request_facts.get() or {}
        response.headers[REQUEST_ID] = facts.get("request", "")
        if rule not in _QUIET:
            told = {
                "method": metrics.known_method(request.method),
                "route": rule,
                "status": response.status_code,
                "took_ms": int(took_s * 1000),
            }
            _log.info("request", extra={"facts": told})
        return response

    def forget(_error: BaseException | None) -> None:
        request_facts.set(None)

    gate.watch(_note_record)
    gate.watch(metrics.count_record)
    app.before_request(begin)
    app.after_request(end)
    app.teardown_request(forget)


def _note_record(record: Record, _took_s: float) -> None:
    facts = request_facts.get()
    if facts is not None:
        # An outcome belongs to its intent, and that is the record which answers name.
        facts["record"] = record.intent or record.id
