"""A witness's answers over HTTP (C2SP tlog-witness): two addresses, and nothing else.

Whoever can reach it may ask: a request proves itself by the log's signature, and a wrong one costs a hash and a
signature check. It is plain WSGI, without the daemon's application: nothing here needs accounts, sessions or pages.
"""

import logging
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from audit.errors import LogUnavailable
from audit.log.cosignature import CosigningKey
from audit.witness.rules import MAX_REQUEST_BYTES, Refused, RequestMalformed, RequestTooLarge, SizeConflict
from audit.witness.store import WitnessStore

#: The content type of a 409, whose body is the size that stands.
SIZE_TYPE = "text/x.tlog.size"
_TEXT_TYPE = "text/plain; charset=utf-8"
_CHECKPOINT = re.compile(r"/([0-9a-f]{64})/checkpoint")

_log = logging.getLogger("web.witness")

_Answer = tuple[HTTPStatus, str, bytes]


class WitnessApp:
    """The WSGI application of a witness.

    Args:
        store: what it remembers.
        key: what it cosigns with.
    """

    def __init__(self, store: WitnessStore, key: CosigningKey) -> None:
        self._store = store
        self._key = key

    def __call__(
        self, environment: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], object]
    ) -> Iterable[bytes]:
        """Answer one request."""
        try:
            status, kind, body = self._answer(environment)
        except SizeConflict as error:
            status, kind, body = HTTPStatus.CONFLICT, SIZE_TYPE, f"{error.size}\n".encode()
        except Refused as error:
            _log.warning("A request was refused.", extra={"facts": {"code": error.code}})
            status, kind, body = HTTPStatus(error.status), _TEXT_TYPE, _sentence(error.message, error.hint)
        except LogUnavailable as error:
            _log.exception("The witness cannot store what it would cosign.")
            status, kind, body = HTTPStatus.SERVICE_UNAVAILABLE, _TEXT_TYPE, _sentence(error.message)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        headers += [("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")]
        if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            headers.append(("Connection", "close"))  # the rest of the body is not read
        start(f"{status.value} {status.phrase}", headers)
        return [body]

    def _answer(self, environment: dict[str, Any]) -> _Answer:
        path, method = environment["PATH_INFO"], environment["REQUEST_METHOD"]
        found = _CHECKPOINT.fullmatch(path)
        if path != "/add-checkpoint" and found is None:
            return HTTPStatus.NOT_FOUND, _TEXT_TYPE, _sentence("There is nothing at this address.")
        if method != ("POST" if found is None else "GET"):
            return HTTPStatus.METHOD_NOT_ALLOWED, _TEXT_TYPE, _sentence("This address has another method.")
        if found is not None:
            return HTTPStatus.OK, _TEXT_TYPE, self._store.checkpoint(found[1])
        line = self._store.cosign(_body(environment), self._key, datetime.now(UTC))
        return HTTPStatus.OK, _TEXT_TYPE, line


def _body(environment: dict[str, Any]) -> bytes:
    try:
        stated = int(environment.get("CONTENT_LENGTH") or 0)
    except ValueError as error:
        raise RequestMalformed("The length of the request is not a number.") from error
    if stated > MAX_REQUEST_BYTES:
        raise RequestTooLarge(f"A request has at most {MAX_REQUEST_BYTES} bytes.")
    # One byte more than is taken: what was sent in chunks states no length.
    untrusted: bytes = environment["wsgi.input"].read(MAX_REQUEST_BYTES + 1)
    return untrusted


def _sentence(*parts: str) -> bytes:
    return (" ".join(part for part in parts if part) + "\n").encode()
