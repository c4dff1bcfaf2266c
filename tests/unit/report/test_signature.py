"""A signed report is verified offline, and whatever was done to it afterwards is found."""

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from audit.errors import NotAnExport, TrustInvalid, VerificationFailed
from audit.evidence.errors import SignerUnusable
from audit.report.attachment import Attachment
from audit.report.pdf import render_pdf
from audit.report.signer import KEY_FILE, ReportSigner, create_signer
from audit.verify import Report, Trust, verify_report
from audit.verify.pdf_envelope import EnvelopeBroken, open_envelope
from tests.unit.evidence.examples import snapshot
from tests.unit.report.made import composed
from tests.unit.report.signed import digest, signed_report, signer, unsigned_report

#: Bytes flipped in the whole file, and in the signature's own text, where each counts.
_SAMPLES, _GAP_SAMPLES = 200, 500


@pytest.fixture
def verify(tmp_path: Path) -> Callable[..., Report]:
    def run(data: bytes, trust: Trust | None = None) -> Report:
        path = tmp_path / "report.pdf"
        path.write_bytes(data)
        return verify_report(path, trust)

    return run


def _finding(run: Callable[..., Report], data: bytes, trust: Trust | None = None) -> str:
    with pytest.raises(VerificationFailed) as failure:
        run(data, trust)
    assert failure.value.report["holds"] is False
    assert failure.value.report["kind"] == "report"
    return failure.value.finding


def _gap() -> tuple[int, int]:
    found = re.findall(rb"/ByteRange \[0 (\d+) (\d+) \d+\]", signed_report())[-1]
    return int(found[0]), int(found[1])


def test_a_signed_report_holds_and_says_what_was_checked(verify: Callable[..., Report]) -> None:
    document = verify(
        signed_report(), Trust(report_certificates=frozenset({signer().fingerprints[0]}))
    ).document()
    assert document["holds"] is True
    assert document["kind"] == "report"
    assert document["records"] == 36
    assert [check["name"] for check in document["checks"]] == [  # type: ignore[attr-defined]
        "signature",
        "unsigned",
        "signer",
        "standard",
        "attachments",
        "evidence",
        "key",
        "checkpoint",
    ]


def test_in_a_process_of_its_own_it_holds_as_well(tmp_path: Path) -> None:
    # Whoever verifies has not signed before: nothing that signing loads is there.
    path = tmp_path / "report.pdf"
    path.write_bytes(signed_report())
    done = subprocess.run(
        [sys.executable, "-m", "audit.verify", str(path), "--json"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["holds"] is True


def test_the_first_bytes_are_the_unsigned_report_and_the_signature_states_them() -> None:
    envelope = open_envelope(signed_report())
    assert signed_report().startswith(unsigned_report())
    assert (envelope.unsigned_bytes, envelope.unsigned_sha256) == (
        len(unsigned_report()),
        digest(unsigned_report()),
    )


def test_without_trust_the_report_vouches_for_itself_and_says_so(verify: Callable[..., Report]) -> None:
    details = {check.name: check.detail for check in verify(signed_report()).checks}
    assert details["signer"].startswith("SELF-ASSERTED")
    assert signer().fingerprints[0] in details["signer"]


def test_the_authoritys_fingerprint_is_as_good_as_the_signers(verify: Callable[..., Report]) -> None:
    written = ":".join(re.findall("..", signer().fingerprints[-1].upper()))
    assert verify(signed_report(), Trust().with_report_certificate(written)).holds


def test_another_sites_certificate_is_not_the_trusted_one(
    verify: Callable[..., Report], tmp_path: Path
) -> None:
    other = create_signer(tmp_path, "main on vault-1")
    trust = Trust(report_certificates=frozenset(other.fingerprints))
    assert _finding(verify, signed_report(), trust) == "report.not_trusted"


def test_a_flipped_byte_anywhere_is_found() -> None:
    data, chance = signed_report(), random.Random(20)  # noqa: S311 - the same bytes each time, no secret
    begin, end = _gap()
    places = [*chance.sample(range(len(data)), _SAMPLES), *chance.sample(range(begin, end), _GAP_SAMPLES)]
    unseen = []
    for place in places:
        flipped = bytearray(data)
        flipped[place] ^= 1 << chance.randrange(8)
        try:
            open_envelope(bytes(flipped))
        except EnvelopeBroken:
            continue
        unseen.append(place)
    assert unseen == []


def test_a_flipped_byte_ends_the_whole_verification_with_the_same_shape(
    verify: Callable[..., Report],
) -> None:
    flipped = bytearray(signed_report())
    flipped[len(flipped) // 3] ^= 1
    assert _finding(verify, bytes(flipped)) == "report.changed"


def test_a_letter_of_the_signature_in_the_other_case_is_found() -> None:
    begin, end = _gap()
    data = signed_report()
    lower = data[:begin] + data[begin:end].lower() + data[end:]
    with pytest.raises(EnvelopeBroken):
        open_envelope(lower)


@pytest.mark.parametrize("more", [b"\n", b"%%EOF\n", b"1 0 obj\n<<>>\nendobj\n"])
def test_whatever_stands_after_the_signature_is_found(verify: Callable[..., Report], more: bytes) -> None:
    assert _finding(verify, signed_report() + more) == "report.appended"


def test_a_truncated_report_is_found(verify: Callable[..., Report]) -> None:
    assert _finding(verify, signed_report()[:-1]) == "report.truncated"


def test_an_unsigned_report_does_not_verify(verify: Callable[..., Report]) -> None:
    assert _finding(verify, unsigned_report()) == "report.unsigned"


def test_a_report_signed_by_somebody_else_is_not_the_trusted_one(
    verify: Callable[..., Report], tmp_path: Path
) -> None:
    forged = create_signer(tmp_path, "main on vault-1").sign(unsigned_report())
    trust = Trust(report_certificates=frozenset(signer().fingerprints))
    assert _finding(verify, forged, trust) == "report.not_trusted"


def _signed_with(attachments: tuple[Attachment, ...]) -> bytes:
    report, _, _ = composed(snapshot())
    return signer().sign(render_pdf(report, attachments))


def test_an_attachment_that_is_not_what_the_manifest_lists_is_found(verify: Callable[..., Report]) -> None:
    _, attachments, _ = composed(snapshot())
    others = tuple(
        Attachment.of(each.name, each.description, b"{}") if each.name == "snapshot.json" else each
        for each in attachments
    )
    assert _finding(verify, _signed_with(others)) == "report.attachment_changed"


def test_an_attachment_beside_the_manifest_is_found(verify: Callable[..., Report]) -> None:
    _, attachments, _ = composed(snapshot())
    more = (*attachments, Attachment.of("surprise.txt", "not listed", b"x"))
    assert _finding(verify, _signed_with(more)) == "report.attachment_changed"


def test_a_pdf_that_is_signed_but_no_report_is_found(verify: Callable[..., Report]) -> None:
    assert _finding(verify, _signed_with(())) == "report.malformed"


def test_a_file_that_is_no_pdf_is_bad_input(verify: Callable[..., Report]) -> None:
    with pytest.raises(NotAnExport):
        verify(b"hello")


@pytest.mark.parametrize("written", ["", "ab", "zz" * 32, "ab" * 33])
def test_a_fingerprint_out_of_shape_is_refused_in_a_sentence(written: str) -> None:
    with pytest.raises(TrustInvalid, match="SHA-256"):
        Trust().with_report_certificate(written)


def test_another_program_finds_the_same_signature(tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(signed_report())
    # poppler's own verification; it knows no authority, and says so.
    said = subprocess.run(
        ["pdfsig", str(path)], capture_output=True, text=True, check=False, timeout=60, env=os.environ
    ).stdout
    assert "Signature is Valid" in said
    assert "Total document signed" in said
    assert "ETSI.CAdES.detached" in said


def test_a_key_and_certificates_of_the_owners_own_authority_serve_as_well(
    verify: Callable[..., Report], tmp_path: Path
) -> None:
    root_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    root = _certificate("Clinic root", root_key, "Clinic root", root_key, authority=True)
    own = _certificate("Compliance office", key, "Clinic root", root_key)
    _put(tmp_path, key, own, root)
    own_signer = ReportSigner.load(tmp_path)
    assert not own_signer.self_issued
    signed = own_signer.sign(unsigned_report())
    assert verify(signed, Trust().with_report_certificate(own_signer.fingerprints[-1])).holds
    details = {check.name: check.detail for check in verify(signed).checks}
    assert "Compliance office" in details["signer"]


# -- the key ----------------------------------------------------------------------------------


def test_only_its_owner_may_read_the_key(tmp_path: Path) -> None:
    create_signer(tmp_path, "main")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"report.key": 0o600, "report-ca.key": 0o600, "report.crt": 0o600}


def test_the_key_shows_in_no_representation() -> None:
    assert "PRIVATE" not in repr(signer())
    assert "_key" not in repr(signer())


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    create_signer(tmp_path, "main")
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(SignerUnusable, match="Others than its owner"):
        ReportSigner.load(tmp_path)


def test_a_key_without_its_certificate_is_refused(tmp_path: Path) -> None:
    create_signer(tmp_path, "main")
    (tmp_path / "other").mkdir()
    create_signer(tmp_path / "other", "main")
    (tmp_path / "report.crt").write_bytes((tmp_path / "other" / "report.crt").read_bytes())
    with pytest.raises(SignerUnusable, match="does not belong"):
        ReportSigner.load(tmp_path)


@pytest.mark.parametrize("name", [KEY_FILE, "report.crt"])
def test_a_damaged_or_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    create_signer(tmp_path, "main")
    (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(SignerUnusable, match="not what its name says"):
        ReportSigner.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(SignerUnusable, match="cannot be read"):
        ReportSigner.load(tmp_path)


_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _certificate(
    name: str, key: _Key, issuer: str, issuer_key: _Key, *, authority: bool = False, days: int = 9
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = [not authority, not authority, False, False, False, authority, authority, False, False]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(*usage), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def _put(folder: Path, key: _Key, *certificates: x509.Certificate) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / KEY_FILE).touch(0o600)
    (folder / KEY_FILE).write_bytes(pem)
    chain = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)
    (folder / "report.crt").write_bytes(chain)


def test_a_certificate_out_of_date_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    _put(tmp_path, key, _certificate("old", key, "old", key, days=-1))
    with pytest.raises(SignerUnusable, match="not valid today"):
        ReportSigner.load(tmp_path)


def test_a_chain_without_its_root_is_refused(tmp_path: Path) -> None:
    key, above = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    _put(tmp_path, key, _certificate("office", key, "root", above))
    with pytest.raises(SignerUnusable, match="does not end at a root"):
        ReportSigner.load(tmp_path)
