"""Who signs reports, and the signature itself (D12): PAdES baseline B-B by pyHanko, with a key of this site.

The certificate is self-issued unless the owner puts one of their own authority in its place, and the time in a
signature is this host's own: nobody else vouches for it, so nothing here is ever called B-T or B-LTA.

Invariants: signing appends, so the unsigned report is the first bytes of the signed one, and the signature's reason
states how many and their SHA-256; the private key is read from its file, 0600, by the process that signs, and is
never an argument, a variable or a message; nothing is fetched from anywhere.
"""

import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from audit.evidence.errors import SignerUnusable
from audit.verify.pdf_envelope import stated_reason

#: The private key and the certificates, signer first: an owner with an authority replaces both.
KEY_FILE, CERTIFICATES_FILE = "report.key", "report.crt"
#: The key of the self-issued authority, kept so that a new signer can be issued under the same one.
AUTHORITY_KEY_FILE = "report-ca.key"
FIELD = "StrongroomEvidence"

_VALID_DAYS = 3650
_MAX_NAME = 64
_DER = serialization.Encoding.DER
_PEM = serialization.Encoding.PEM
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class ReportSigner:
    """A key with its certificates, ready to sign.

    Attributes:
        certificates: the signer's first, then those above it.
    """

    certificates: tuple[x509.Certificate, ...]
    _key: bytes = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> "ReportSigner":
        """Read key and certificates.

        Raises:
            SignerUnusable: missing, readable by others, not a key and its certificate, or out of date.
        """
        key_file = folder / KEY_FILE
        try:
            if key_file.stat().st_mode & _OTHERS:
                raise SignerUnusable(
                    f"Others than its owner may read the report key {key_file}.",
                    "Set its mode to 0600; if somebody may have copied it, remove it and let a new one be made.",
                )
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            certificates = tuple(x509.load_pem_x509_certificates((folder / CERTIFICATES_FILE).read_bytes()))
        except OSError as error:
            raise SignerUnusable(
                f"The report key cannot be read: {error.strerror}.", f"Look at {folder}."
            ) from error
        except (ValueError, TypeError) as error:
            raise SignerUnusable(
                f"{KEY_FILE} or {CERTIFICATES_FILE} in {folder} is not what its name says.",
                "Put back what was there, or remove both and let new ones be made.",
            ) from error
        if key.public_key() != certificates[0].public_key():
            raise SignerUnusable(
                f"The first certificate of {CERTIFICATES_FILE} does not belong to {KEY_FILE}.",
                "Put the signer's own certificate first.",
            )
        if certificates[-1].subject != certificates[-1].issuer:
            raise SignerUnusable(
                f"The chain in {CERTIFICATES_FILE} does not end at a root.",
                "Add the certificates above the signer's, up to the self-signed one.",
            )
        if (
            not certificates[0].not_valid_before_utc
            <= datetime.now(UTC)
            < certificates[0].not_valid_after_utc
        ):
            raise SignerUnusable(
                "The certificate of the report key is not valid today.", "Issue a new one for it."
            )
        der = key.private_bytes(_DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return cls(certificates, der)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 of each certificate, hex, the signer's first."""
        return tuple(each.fingerprint(hashes.SHA256()).hex() for each in self.certificates)

    @property
    def subject(self) -> str:
        """Whom the signer's certificate names."""
        return self.certificates[0].subject.rfc4514_string()

    @property
    def self_issued(self) -> bool:
        """Whether it is the authority that `create_signer` makes, which nobody else vouches for."""
        return self.certificates[-1].subject.rfc4514_string().endswith(_AUTHORITY_WORDS)

    def sign(self, unsigned: bytes) -> bytes:
        """Append a signature to a PDF. The first bytes of the answer are the PDF as it was given."""
        # Imported here: pyHanko takes a second, and most who import this module only name the files.
        from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter  # noqa: PLC0415
        from pyhanko.sign import signers  # noqa: PLC0415
        from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter  # noqa: PLC0415
        from pyhanko_certvalidator.registry import SimpleCertificateStore  # noqa: PLC0415

        store = SimpleCertificateStore()  # type: ignore[no-untyped-call] # pyHanko has not typed it
        chain = [asn1_x509.Certificate.load(each.public_bytes(_DER)) for each in self.certificates]
        for certificate in chain[1:]:
            store.register(certificate)
        signer = signers.SimpleSigner(
            signing_cert=chain[0],
            signing_key=asn1_keys.PrivateKeyInfo.load(self._key),
            cert_registry=store,
        )
        form = signers.PdfSignatureMetadata(
            field_name=FIELD,
            md_algorithm="sha256",
            subfilter=SigSeedSubFilter.PADES,
            # A certification: readers too will say so when anything is added afterwards.
            certify=True,
            docmdp_permissions=MDPPerm.NO_CHANGES,
            name=self.subject,
            reason=stated_reason(len(unsigned), sha256(unsigned).hexdigest()),
        )
        signed = BytesIO()
        signers.PdfSigner(form, signer).sign_pdf(IncrementalPdfFileWriter(BytesIO(unsigned)), output=signed)
        return signed.getvalue()


_AUTHORITY_WORDS = " (self-issued)"


def create_signer(folder: Path, site: str) -> ReportSigner:
    """Make a signing key under an authority of this site's own, where there is none yet.

    Args:
        folder: the secrets folder, 0700.
        site: what to name in the certificate, such as `main on vault-1`.

    Raises:
        SignerUnusable: the files cannot be written.
    """
    words = re.sub(r"[^A-Za-z0-9 ._-]", "", site)
    authority_key, authority = _issue(f"Strongroom {words}"[: _MAX_NAME - 14] + _AUTHORITY_WORDS)
    key, certificate = _issue(f"Evidence reports of {words}"[:_MAX_NAME], (authority_key, authority))
    try:
        # The key last: it is what tells whether there is a signer.
        _write(folder / AUTHORITY_KEY_FILE, _pem(authority_key), 0o600)
        both = certificate.public_bytes(_PEM) + authority.public_bytes(_PEM)
        _write(folder / CERTIFICATES_FILE, both, 0o600)
        _write(folder / KEY_FILE, _pem(key), 0o600)
    except OSError as error:
        raise SignerUnusable(
            f"The report key cannot be written to {folder}: {error.strerror}.", "Make room, then try again."
        ) from error
    return ReportSigner.load(folder)


_Issuer = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


def _issue(name: str, issuer: _Issuer | None = None) -> _Issuer:
    """Make a P-256 key (which every PDF reader verifies) with its certificate; an authority without issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer_key, issuer_name = (key, subject) if issuer is None else (issuer[0], issuer[1].subject)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=_VALID_DAYS))
        .add_extension(
            x509.BasicConstraints(ca=issuer is None, path_length=None if issuer else 0), critical=True
        )
        .add_extension(_usage(authority=issuer is None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )
    return key, certificate


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a whole file under its name at once; what an interrupted making left is replaced."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.rename(path)
