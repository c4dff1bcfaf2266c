"""Asks one witness to cosign a checkpoint (the client of C2SP tlog-witness), and believes only its key."""

import re
import ssl

import httpx

from audit.errors import NoteInvalid
from audit.log.note import Note, Signature
from vault.config import WitnessAddress
from vault.errors import VaultError

_TIMEOUT_S = 10.0
#: Lines of post-quantum signatures that may stand beside ours take nearly 5 kB each.
_MAX_ANSWER_BYTES = 1 << 16
_SIZE = re.compile(rb"(?:0|[1-9][0-9]{0,18})\n")


class WitnessSilent(VaultError):
    """It is not reached, or gives no answer that means anything."""

    code = "witness.silent"


class WitnessElsewhere(VaultError):
    """The tree that it cosigned last is of another size than the proof begins at.

    Args:
        size: records of that tree.
    """

    code = "witness.elsewhere"

    def __init__(self, size: int) -> None:
        super().__init__(f"The witness cosigned a tree of {size} records last.")
        self.size = size


class WitnessContradicts(VaultError):
    """It does not find that the log extends what it cosigned last."""

    code = "witness.contradicts"


class WitnessClient:
    """The connection to one witness; of one thread.

    Args:
        address: where it is, and its key.
    """

    def __init__(self, address: WitnessAddress) -> None:
        self._key = address.key
        try:
            tls = ssl.create_default_context(cafile=address.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise WitnessSilent(f"The certificate {address.ca_file} cannot be read.") from error
        # trust_env: a proxy or certificate that a variable names is nobody's decision about witnesses.
        self._http = httpx.Client(base_url=address.url, verify=tls, timeout=_TIMEOUT_S, trust_env=False)

    def close(self) -> None:
        """Let the connection go."""
        self._http.close()

    def add_checkpoint(self, request: bytes, note: bytes) -> Signature:
        """Submit a checkpoint.

        Args:
            request: the body: old size, proof, checkpoint.
            note: the checkpoint in it.

        Returns:
            The witness's signature line, verified.

        Raises:
            WitnessElsewhere: the proof begins at another size than the witness is at.
            WitnessContradicts: the witness finds the proof not to hold.
            WitnessSilent: anything else.
        """
        try:
            with self._http.stream("POST", "/add-checkpoint", content=request) as answer:
                body = b""
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > _MAX_ANSWER_BYTES:
                        raise WitnessSilent("The witness's answer is longer than any should be.")
        except httpx.HTTPError as error:
            raise WitnessSilent(f"The witness is not reached ({type(error).__name__}).") from error
        match answer.status_code:
            case 200:
                return self._cosignature(note, body)
            case 409 if _SIZE.fullmatch(body):
                raise WitnessElsewhere(int(body))
            case 422:
                raise WitnessContradicts("The witness does not find that the log extends what it cosigned.")
            case 403 | 404:
                raise WitnessSilent("The witness does not trust the log's key.")
            case other:
                raise WitnessSilent(f"The witness answered with {other}.")

    def _cosignature(self, note: bytes, untrusted: bytes) -> Signature:
        try:
            signed = Note.parse(note + untrusted)
            self._key.signed_at(signed)
        except NoteInvalid as error:
            raise WitnessSilent(
                f"The witness's answer is not a cosignature of its key. {error.message}"
            ) from error
        own = [
            each for each in signed.signatures if (each.name, each.key_id) == (self._key.name, self._key.id)
        ]
        return own[-1]
