"""The command line's way to the daemon: HTTPS, trusting the instance's own certificate and nothing else.

Whatever goes wrong on the way becomes one sentence that says what to do.
"""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from policies.errors import ExitCode
from web.cli.failure import (
    AnswerLost,
    CertificateUnknown,
    CommandFailed,
    DaemonUnreachable,
    LocalFailure,
    NotLoggedIn,
)

API: Final = "/api/v1"
#: The daemon answers at once or works; only a dead connection is given up on.
_CONNECT_S: Final = 10.0
_ANSWER_S: Final = 3700.0
_LOOK_S: Final = 2.0
#: Addresses that are no view: anybody may ask them, and nothing is recorded.
_NO_VIEW: Final = frozenset({"/status"})


class Client:
    """Sends requests of one caller to one daemon."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        ca_file: Path | None = None,
        transport: httpx.BaseTransport | None = None,
        view: str | None = None,
        answer_s: float | None = None,
    ) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            url: address of the daemon.
            token: of the session; None for what needs none.
            ca_file: certificate to trust; None trusts the authorities of this machine.
            transport: how requests travel; None is HTTPS.
            view: name of the view for reads that repeat by themselves; the log then holds one record in five minutes.
            answer_s: give up after this time, in seconds; None waits as long as work may take.
        """
        self.url = url
        self._view = view
        self._token = token
        self._client = httpx.Client(
            base_url=url,
            transport=transport,
            verify=_trust(ca_file),
            timeout=httpx.Timeout(answer_s or _ANSWER_S, connect=answer_s or _CONNECT_S),
            headers={"User-Agent": "strongroom-cli/1", "Accept": "application/json"},
            trust_env=False,  # a proxy has no business between the command line and the daemon
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def answers(self) -> bool:
        """Say whether a daemon serves there already."""
        try:
            return self._client.get("/healthz", timeout=_LOOK_S).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def get(self, path: str, /, **query: str | int | None) -> dict[str, Any]:
        """GET a JSON object below the API's address."""
        if self._view is not None and path not in _NO_VIEW:
            query.setdefault("view", self._view)
        return self._json("GET", path, params=_given(query))

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """POST a JSON object."""
        return self._json("POST", path, json=body if body is not None else {})

    def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """PUT a JSON object."""
        return self._json("PUT", path, json=body)

    def delete(self, path: str) -> dict[str, Any]:
        """DELETE."""
        return self._json("DELETE", path)

    def upload(self, path: str, data: bytes, /, **query: str | int | None) -> dict[str, Any]:
        """PUT raw bytes."""
        return self._json(
            "PUT",
            path,
            params=_given(query),
            content=data,
            headers={"Content-Type": "application/octet-stream"},
        )

    @contextmanager
    def download(self, path: str, /, **query: str | int | None) -> Iterator[Iterator[bytes]]:
        """GET raw bytes in pieces."""
        with self._translated(), self._stream("GET", path, params=_given(query)) as response:
            if response.status_code != httpx.codes.OK:
                response.read()
                raise _refusal(response)
            yield response.iter_bytes()

    def events(self, path: str) -> Iterator[dict[str, Any]]:
        """Follow server-sent events; yields each event's data until the daemon ends the stream."""
        headers = {"Accept": "text/event-stream"}
        timeout = httpx.Timeout(60.0, connect=_CONNECT_S)
        with self._translated(), self._stream("GET", path, headers=headers, timeout=timeout) as response:
            if response.status_code != httpx.codes.OK:
                response.read()
                raise _refusal(response)
            for line in response.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    @contextmanager
    def _stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:  # noqa: ANN401
        headers = {**self._authorization(), **options.pop("headers", {})}
        with self._client.stream(method, API + path, headers=headers, **options) as response:
            yield response

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        headers = {**self._authorization(), **options.pop("headers", {})}
        with self._translated():
            response = self._client.request(method, API + path, headers=headers, **options)
        if response.status_code >= httpx.codes.BAD_REQUEST:
            raise _refusal(response)
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise AnswerLost("What answers there is not Strongroom.", "Look at the address with --url.")
        if set(document) == {"error"}:
            raise _refusal(response)  # accepted, waiting for approval (202)
        return document

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            if _is_about_certificate(error):
                raise CertificateUnknown(
                    f"The certificate of {self.url} is not the one known here.",
                    "Give the instance's certificate with --ca-file (secrets/tls.crt in its data folder), "
                    "or name the right --data.",
                ) from error
            raise self._unreachable() from error
        except httpx.ConnectTimeout as error:
            raise self._unreachable() from error
        except httpx.TransportError as error:
            raise AnswerLost(
                "The connection to the daemon broke before the answer was there.",
                "Look with `strongroom job list` and `strongroom audit list` at what it did.",
            ) from error

    def _unreachable(self) -> DaemonUnreachable:
        return DaemonUnreachable(
            f"No daemon answers at {self.url}.",
            "Start it with `strongroom serve --background`, or give --url.",
        )


def part(name: str) -> str:
    """A name as one part of an address, whatever it holds."""
    return quote(name, safe="")


def need_token(token: str | None, url: str, profile: str) -> str:
    """The token, or the sentence that says how to get one.

    Raises:
        NotLoggedIn: there is none.
    """
    if token is None:
        login = "strongroom login" if profile == "default" else f"strongroom --as {profile} login"
        raise NotLoggedIn(f"You are not logged in at {url}.", f"Run `{login}`.")
    return token


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        context = ssl.create_default_context()
    else:
        try:
            context = ssl.create_default_context(cafile=str(ca_file))
        except (OSError, ssl.SSLError) as error:
            raise LocalFailure(
                f"The certificate {ca_file} cannot be read.", "Name a readable PEM file with --ca-file."
            ) from error
        # The instance's own certificate is the anchor itself, be it an authority's or not.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _is_about_certificate(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _refusal(response: httpx.Response) -> CommandFailed | AnswerLost:
    try:
        body = response.json()["error"]
        known = {name: body.get(name) for name in ("code", "message", "hint", "exit", "record")}
        known["exit"] = int(known["exit"])
        if known["exit"] not in set(ExitCode) or not known["message"]:
            raise ValueError(known["exit"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return AnswerLost(
            f"The daemon answered with HTTP status {response.status_code} and no reason.", "Look at its log."
        )
    return CommandFailed(known)


def _given(query: dict[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in query.items() if value is not None}
