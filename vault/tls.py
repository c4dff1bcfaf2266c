"""The daemon's TLS certificate, made at init: self-signed, for this host's own names.

Clients on the same host trust exactly this certificate; others are given the file. A site with an authority
of its own puts its certificate and key in the same two files.
"""

import ipaddress
import os
import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vault.errors import BadInput, Conflict, HostFailure

#: Browsers refuse leaf certificates that live longer.
_VALID_DAYS = 397
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Strongroom")])
#: Names and addresses as certificates write them; other scripts come as punycode.
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def make_certificate(secrets_dir: Path, host: str) -> None:
    """Write `tls.key` (0600) and `tls.crt` for `host`, localhost and this machine's name.

    Args:
        secrets_dir: folder that already exists, 0700.
        host: name or address that the daemon listens on.

    Raises:
        BadInput: `host` cannot stand in a certificate.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(key, _names(host))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(secrets_dir / "tls.key", private, 0o600)
    _write(secrets_dir / "tls.crt", certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def renew_certificate(secrets_dir: Path, host: str) -> None:
    """Replace `tls.crt` by one that lives anew, with the same key; the daemon shows it after its next start.

    Args:
        secrets_dir: folder with `tls.key`.
        host: name or address that the daemon listens on.

    Raises:
        Conflict: an authority made the certificate, so only that can renew it.
        HostFailure: certificate or key cannot be read.
    """
    present = _load(secrets_dir / "tls.crt")
    if present.issuer != _NAME or present.subject != _NAME:
        raise Conflict(
            "The daemon's certificate was made by an authority, so Strongroom does not replace it.",
            f"Put a new certificate and its key into {secrets_dir} (tls.crt, tls.key).",
        )
    try:
        key = serialization.load_pem_private_key((secrets_dir / "tls.key").read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise HostFailure(f"The key {secrets_dir / 'tls.key'} cannot be read.", "Restore it.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise HostFailure(f"{secrets_dir / 'tls.key'} is no key that Strongroom made.", "Restore it.")
    part = secrets_dir / "tls.crt.part"
    part.unlink(missing_ok=True)
    _write(part, _sign(key, _names(host)).public_bytes(serialization.Encoding.PEM), 0o644)
    part.rename(secrets_dir / "tls.crt")


def certificate_expires_at(secrets_dir: Path) -> datetime:
    """When the daemon's certificate ends.

    Raises:
        HostFailure: it cannot be read.
    """
    return _load(secrets_dir / "tls.crt").not_valid_after_utc


def _load(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise HostFailure(
            f"The certificate {path} cannot be read.",
            "Put a certificate and its key there (tls.crt, tls.key).",
        ) from error


def _sign(key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName]) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # Python 3.13 verifies strictly (RFC 5280 section 4.2.1.1 to 3) and refuses a certificate without these.
        .add_extension(_KEY_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _names(host: str) -> list[x509.GeneralName]:
    if not _HOST.fullmatch(host):
        raise BadInput(
            f"{host!r} is no name or address of a host.", "Set `host` to one that this machine has."
        )
    own = socket.gethostname()
    names = {"localhost", "127.0.0.1", "::1", host} | ({own} if _HOST.fullmatch(own) else set())
    return [_name(name) for name in sorted(names - {"0.0.0.0", "::"})]  # noqa: S104 - left out, not bound


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
