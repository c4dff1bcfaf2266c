"""The bytes round a signed report: which of them are signed, by whom, and that nothing is beside them.

A PDF reader is lenient, so this looks at the bytes before any reader does. Invariant: what passes here has no byte
that could be another. The signed ranges are all of the file but the signature's own text; that text is the one way
to write this signature (upper-case hex, one encoding, zeros behind it); and each certificate in it is on the one
chain from the signer. Standards: PDF 32000-1 section 12.8.1, CMS (RFC 5652), PAdES (ETSI EN 319 142-1).
"""

import re
from dataclasses import dataclass
from hashlib import sha256

from asn1crypto import cms, core
from asn1crypto import tsp as _tsp  # noqa: F401 - teaches `cms` the attribute that binds a certificate (RFC 5035)
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

_BYTE_RANGE = re.compile(rb"/ByteRange \[0 (\d{1,12}) (\d{1,12}) (\d{1,12})\]")
_END = b"%%EOF"
_HEX = re.compile(rb"[0-9A-F]+")
_MAX_CERTIFICATES = 8
_SEQUENCE, _SET, _OCTETS, _CONTEXT_0, _LONG_FORM = 0x30, 0x31, 0x04, 0xA0, 0x80
_VERSION_1 = bytes.fromhex("020101")
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
_DATA = bytes.fromhex("06092a864886f70d010701")
_SHA256 = bytes.fromhex("300d06096086480165030402010500")
#: ecdsa-with-SHA256 (RFC 5758) and sha256WithRSAEncryption (RFC 4055), by the signer's kind of key.
_ECDSA = bytes.fromhex("300a06082a8648ce3d040302")
_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")
_OCTAL = re.compile(r"\\([0-3][0-7]{2})")

_REASON = re.compile(r"the first (\d+) bytes are the unsigned report, SHA-256 ([0-9a-f]{64})")


class EnvelopeBroken(Exception):
    """The signature does not hold. `finding` is a stable code, the message a sentence."""

    def __init__(self, finding: str, sentence: str) -> None:
        super().__init__(sentence)
        self.finding = finding
        self.sentence = sentence


def stated_reason(unsigned_bytes: int, unsigned_sha256: str) -> str:
    """What the signature says of itself: how to find the report as it was before it was signed."""
    return (
        "Evidence report; time is this host's own; "
        f"the first {unsigned_bytes} bytes are the unsigned report, SHA-256 {unsigned_sha256}"
    )


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signature that holds over the whole file.

    Attributes:
        certificates: the chain, the signer's first.
        unsigned_bytes: length of the report before it was signed.
        unsigned_sha256: SHA-256 of those bytes, hex.
    """

    certificates: tuple[x509.Certificate, ...]
    unsigned_bytes: int
    unsigned_sha256: str

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 of each certificate, hex, the signer's first."""
        return tuple(each.fingerprint(hashes.SHA256()).hex() for each in self.certificates)


def open_envelope(untrusted: bytes) -> Envelope:
    """Check the signature of a PDF on its bytes.

    Raises:
        EnvelopeBroken: there is none, it does not hold, or something is beside it.
    """
    # 1. The last byte range covers the whole file but one gap.
    found = list(_BYTE_RANGE.finditer(untrusted))
    if not found:
        raise EnvelopeBroken("report.unsigned", "The PDF carries no signature of a report.")
    before, after, length = (int(number) for number in found[-1].groups())
    if after + length < len(untrusted):
        raise EnvelopeBroken(
            "report.appended", f"{len(untrusted) - after - length} bytes stand after what was signed."
        )
    if after + length > len(untrusted) or not 0 < before < after:
        raise EnvelopeBroken("report.truncated", "The file ends before what was signed does.")
    # 2. The gap is the signature, written in the one way it can be.
    encoded = _signature_bytes(untrusted[before:after])
    # 3. The signature names this content and holds.
    digest = sha256(untrusted[:before])
    digest.update(memoryview(untrusted)[after:])
    chain = _verified_chain(encoded, digest.digest())
    # 4. Its reason, which it covers, says which bytes were there before it.
    end = untrusted.rfind(_END, 0, before)
    unsigned = untrusted[: end + len(_END) + 1]
    own = sha256(unsigned).hexdigest()
    stated = _REASON.search(_unescaped(untrusted[len(unsigned) :]))
    if end < 0 or stated is None or (int(stated[1]), stated[2]) != (len(unsigned), own):
        raise EnvelopeBroken(
            "report.unsigned_differs", "The signature does not state the report that stands before it."
        )
    return Envelope(chain, len(unsigned), own)


def _unescaped(text: bytes) -> str:
    """PDF text with its octal escapes read (ISO 32000-1 section 7.3.4.2)."""
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text.decode("latin-1"))


def _signature_bytes(gap: bytes) -> bytes:
    text = gap[1:-1]
    if gap[:1] != b"<" or gap[-1:] != b">" or len(text) % 2 or not _HEX.fullmatch(text):
        raise _changed()
    padded = bytes.fromhex(text.decode())
    try:
        encoded: bytes = core.load(padded).dump()
    except ValueError as error:
        raise _changed() from error
    if padded[: len(encoded)] != encoded or padded[len(encoded) :].strip(b"\0"):
        raise _changed()
    return encoded


def _verified_chain(encoded: bytes, digest: bytes) -> tuple[x509.Certificate, ...]:
    try:
        signed = cms.ContentInfo.load(encoded, strict=True)["content"]
        (info,) = signed["signer_infos"]
        ders = [each.chosen.dump() for each in signed["certificates"]][:_MAX_CERTIFICATES]
        attributes = info["signed_attrs"]
        stated = {each["type"].native: each["values"].native for each in attributes}
        certificates = [x509.load_der_x509_certificate(der) for der in ders]
        serial = info["sid"].chosen["serial_number"].native
        chain = _chain(certificates, serial)
        _check(chain[0], info["signature"].native, attributes.untag().dump())
        bound = stated["signing_certificate_v2"][0]["certs"][0]["cert_hash"]
        if _written_again(info, ders, chain[0]) != encoded:
            raise _changed()
    except EnvelopeBroken:
        raise
    except Exception as error:
        raise _changed() from error
    if bound != chain[0].fingerprint(hashes.SHA256()) or stated["content_type"] != ["data"]:
        raise _changed()
    if stated["message_digest"] != [digest]:
        raise EnvelopeBroken("report.changed", "The file is not the one that was signed.")
    return chain


def _written_again(info: cms.SignerInfo, certificates: list[bytes], signer: x509.Certificate) -> bytes:
    """The signature as pyHanko writes it (RFC 5652 section 5), from parts that are signed or checked themselves."""
    serial = core.Integer(signer.serial_number).dump()
    attributes = info["signed_attrs"].untag().contents
    signer_info = _der(
        _SEQUENCE,
        _VERSION_1,
        _der(_SEQUENCE, signer.issuer.public_bytes(), serial),
        _SHA256,
        _der(_CONTEXT_0, attributes),
        _RSA if isinstance(signer.public_key(), rsa.RSAPublicKey) else _ECDSA,
        _der(_OCTETS, info["signature"].native),
    )
    signed_data = _der(
        _SEQUENCE,
        _VERSION_1,
        _der(_SET, _SHA256),
        _der(_SEQUENCE, _DATA),
        _der(_CONTEXT_0, *certificates),
        _der(_SET, signer_info),
    )
    return _der(_SEQUENCE, _SIGNED_DATA, _der(_CONTEXT_0, signed_data))


def _der(tag: int, *parts: bytes) -> bytes:
    """One value in DER (X.690 section 8.1 and 10.1: the shortest length)."""
    content = b"".join(parts)
    length = len(content)
    if length < _LONG_FORM:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, _LONG_FORM | len(octets)]) + octets + content


def _chain(certificates: list[x509.Certificate], serial: int) -> tuple[x509.Certificate, ...]:
    """Order certificates from the signer up; each is issued by the next, the last by itself."""
    (signer,) = [each for each in certificates if each.serial_number == serial]
    chain, others = [signer], [each for each in certificates if each is not signer]
    while others:
        (issuer,) = [each for each in others if each.subject == chain[-1].issuer]
        chain[-1].verify_directly_issued_by(issuer)
        chain.append(issuer)
        others.remove(issuer)
    # The top vouches for itself, so that no byte of it could be another; without a root a chain is not whole.
    chain[-1].verify_directly_issued_by(chain[-1])
    return tuple(chain)


def _check(signer: x509.Certificate, signature: bytes, signed: bytes) -> None:
    key = signer.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        raise TypeError(type(key).__name__)


def _changed() -> EnvelopeBroken:
    return EnvelopeBroken(
        "report.signature_invalid", "The signature is damaged, or is not by its certificate."
    )
