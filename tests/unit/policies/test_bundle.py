"""A bundle that exists is valid: each way of being invalid is one sentence that names the culprit."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from policies.bundle import SCHEMA_FILE, PolicyBundle, empty, shipped
from policies.controls import shipped_catalogue
from policies.errors import BundleInvalid, ExitCode
from policies.policy import Effect
from policies.text_limits import MAX_BUNDLE_BYTES
from tests.unit.policies.small_bundles import SCHEMA, bundle_of

GOOD = '@id("t.good") @control("PCI 7.2.2") permit (principal in Role::"operator", action, resource);'


def refusal(text: str) -> str:
    with pytest.raises(BundleInvalid) as refused:
        bundle_of(text)
    assert refused.value.exit_code is ExitCode.BAD_INPUT
    assert refused.value.code == "policy.bundle_invalid"
    assert "\n" not in refused.value.message
    return refused.value.message


def written(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    (folder / SCHEMA_FILE).write_bytes(SCHEMA)
    for name, content in files.items():
        (folder / f"{name}.cedar").write_bytes(content)
    return folder


# --- What a good bundle says ------------------------------------------------------------------------------


def test_the_shipped_bundle_loads_and_every_policy_has_its_own_id() -> None:
    ids = [policy.id for policy in shipped().policies]
    assert sorted(set(ids)) == ids
    assert len(ids) == 24
    assert set(shipped().files) == {SCHEMA_FILE, "base.cedar", "hipaa.cedar", "pci.cedar"}


def test_a_policy_is_named_after_its_file() -> None:
    for policy in shipped().policies:
        assert policy.id.split(".")[0] == policy.file.removesuffix(".cedar")


def test_every_control_that_a_shipped_policy_names_is_in_its_catalogue() -> None:
    known = {
        f"{catalogue.framework} {control.id}"
        for catalogue in (shipped_catalogue("hipaa"), shipped_catalogue("pci-dss-4.0.1"))
        for control in catalogue.controls
    }
    for policy in shipped().policies:
        assert policy.controls
        assert set(policy.controls) <= known


def test_what_a_policy_says_is_read_from_its_annotations() -> None:
    (policy,) = bundle_of(
        """
        @id("t.two-people") @control("PCI 3.7.6; HIPAA 164.312(a)(1)") @obligation("dual_control")
        forbid (principal, action, resource) unless { context.approvals >= 2 };
        """
    ).policies
    assert (policy.id, policy.file, policy.effect) == ("t.two-people", "site.cedar", Effect.FORBID)
    assert policy.controls == ("PCI 3.7.6", "HIPAA 164.312(a)(1)")
    assert policy.obligation == "dual_control"


def test_a_folder_gives_the_same_bundle_as_its_files(tmp_path: Path) -> None:
    folder = written(tmp_path / "bundle", site=GOOD.encode())
    loaded = PolicyBundle.load(folder)
    assert loaded.digest == bundle_of(GOOD).digest
    assert dict(loaded.files) == {SCHEMA_FILE: SCHEMA, "site.cedar": GOOD.encode()}


def test_the_digest_can_be_recomputed_with_ordinary_tools(tmp_path: Path) -> None:
    folder = written(tmp_path / "bundle", b=b"// b", a=GOOD.encode())
    listing = subprocess.run(
        f"sha256sum a.cedar b.cedar {SCHEMA_FILE}".split(), cwd=folder, capture_output=True, check=True
    ).stdout
    assert PolicyBundle.load(folder).digest == hashlib.sha256(listing).hexdigest()


def test_any_changed_byte_or_name_changes_the_digest() -> None:
    digests = {
        bundle_of(GOOD).digest,
        bundle_of(GOOD + " ").digest,
        PolicyBundle({SCHEMA_FILE: SCHEMA, "other.cedar": GOOD.encode()}).digest,
        empty().digest,
    }
    assert len(digests) == 4


def test_the_files_of_a_bundle_cannot_be_changed_afterwards() -> None:
    files = {SCHEMA_FILE: SCHEMA, "site.cedar": GOOD.encode()}
    bundle = PolicyBundle(files)
    files["site.cedar"] = b"permit (principal, action, resource);"
    assert bundle.files["site.cedar"] == GOOD.encode()
    with pytest.raises(TypeError):
        bundle.files["site.cedar"] = b""  # type: ignore[index]  # the attack
    with pytest.raises(AttributeError):
        bundle.digest = "0" * 64  # type: ignore[misc]  # the attack


# --- Policies that do not do -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("permit (principal, action, resource)", "File site.cedar does not parse: unexpected end of input."),
        ("allow (principal, action, resource);", "File site.cedar does not parse: "),
        (GOOD.replace('@id("t.good")', ""), "Policy number 1 in file site.cedar has no @id."),
        (GOOD.replace('@id("t.good")', "@id"), "Policy number 1 in file site.cedar has no @id."),
        (GOOD + GOOD.replace('@id("t.good")', '@id("")'), "Policy number 2 in file site.cedar has no @id."),
        (
            GOOD.replace("t.good", "T good"),
            "Policy number 1 in file site.cedar has an @id with odd characters",
        ),
        (GOOD.replace("t.good", "t.good\\n"), "Policy number 1 in file site.cedar has an @id with odd"),
        (
            GOOD.replace("t.good", "t" * 81),
            "Policy number 1 in file site.cedar has an @id with odd characters",
        ),
        (GOOD + GOOD, "Policy t.good in file site.cedar has the @id of a policy in file site.cedar."),
        (GOOD.replace('@control("PCI 7.2.2")', ""), "Policy t.good in file site.cedar has no @control."),
        (
            GOOD.replace('@control("PCI 7.2.2")', "@control"),
            "Policy t.good in file site.cedar has no @control.",
        ),
        (GOOD.replace("PCI 7.2.2", "PCI"), "Policy t.good in file site.cedar has an @control that names no"),
        (GOOD.replace("PCI 7.2.2", "PCI 7.2.2;"), "Policy t.good in file site.cedar has an @control that"),
        ("@note " + GOOD, "Policy t.good in file site.cedar has an unknown annotation @note."),
        ('@id("t.x") ' + GOOD, "File site.cedar does not parse: duplicate annotation: @id."),
        (
            GOOD.replace('principal in Role::"operator"', "principal == ?principal"),
            "File site.cedar holds a policy with a slot, which would never apply to anybody.",
        ),
        (
            GOOD.replace(";", " when { principal.superuser };"),
            "Policy t.good in file site.cedar does not fit the schema: attribute `superuser`",
        ),
        (
            GOOD.replace("operator", "oprator"),
            'Policy t.good in file site.cedar does not fit the schema: entity `Role::"oprator"`',
        ),
        (
            GOOD.replace("action,", 'action == Action::"guest.open",'),
            "Policy t.good in file site.cedar does not fit the schema: unrecognized action `Action",
        ),
        (
            GOOD.replace(";", " when { context.approvals };"),
            "Policy t.good in file site.cedar does not fit the schema: ",
        ),
        (
            GOOD.replace(";", " when { " + " && ".join(["context.second_factor"] * 200) + " };"),
            "File site.cedar holds a policy that nests too deeply.",
        ),
        (
            GOOD.replace(";", " when { " + " || ".join(["true"] * 900) + " };"),
            "File site.cedar holds a policy that nests too deeply.",
        ),
    ],
)
def test_a_bad_policy_is_refused_by_name(text: str, sentence: str) -> None:
    assert refusal(text).startswith(sentence)


def test_an_id_used_in_two_files_is_refused() -> None:
    with pytest.raises(
        BundleInvalid, match=r"Policy t.good in file b.cedar has the @id of a policy in file a.cedar"
    ):
        PolicyBundle({SCHEMA_FILE: SCHEMA, "a.cedar": GOOD.encode(), "b.cedar": GOOD.encode()})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '@obligation("two_people") forbid (principal, action, resource);',
            "Policy t.o carries an unknown obligation.",
        ),
        (
            "@obligation forbid (principal, action, resource) unless { context.approvals > 1 };",
            "Policy t.o carries an unknown obligation.",
        ),
        (
            '@obligation("dual_control") permit (principal, action, resource);',
            "Policy t.o is a permit and carries an obligation, which would bind nobody.",
        ),
        (
            '@obligation("reason") forbid (principal, action, resource) unless { context.second_factor };',
            "Policy t.o demands reason but never looks at context.reason_given, so nobody could meet it.",
        ),
        (
            '@obligation("second_factor") forbid (principal, action, resource);',
            "Policy t.o demands second_factor but never looks at context.second_factor",
        ),
    ],
)
def test_an_obligation_that_nobody_could_meet_is_refused(text: str, sentence: str) -> None:
    assert refusal(f'@id("t.o") @control("PCI 3.7.6") {text}').startswith(sentence)


# --- Files and folders that do not do ----------------------------------------------------------------------


def test_a_bundle_without_a_schema_is_refused() -> None:
    with pytest.raises(BundleInvalid, match=r"has no file schema\.cedarschema"):
        PolicyBundle({"site.cedar": GOOD.encode()})


def test_a_schema_that_makes_the_forbids_blind_is_refused() -> None:
    # Without the labels in the schema nothing could forbid by them.
    blind = SCHEMA.replace(b"labels: Set<String>, ", b"")
    with pytest.raises(BundleInvalid, match="is not the schema of this version"):
        PolicyBundle({SCHEMA_FILE: blind, "site.cedar": GOOD.encode()})


def test_an_older_schema_is_accepted_for_a_replay_but_must_parse() -> None:
    older = SCHEMA.replace(b'"key.list",', b"")
    assert PolicyBundle({SCHEMA_FILE: older}, foreign_schema=True).schema == older.decode()
    with pytest.raises(BundleInvalid, match=r"File schema\.cedarschema does not parse: "):
        PolicyBundle({SCHEMA_FILE: b"entity Account in [Nobody];"}, foreign_schema=True)


@pytest.mark.parametrize(
    "name", ["README.md", "../site.cedar", "Site.cedar", "site.cedar.bak", ".cedar", "a/b.cedar"]
)
def test_a_file_that_does_not_belong_is_refused(name: str) -> None:
    with pytest.raises(BundleInvalid, match="does not belong in a policy bundle"):
        PolicyBundle({SCHEMA_FILE: SCHEMA, name: b""})


def test_text_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(BundleInvalid, match=r"File site\.cedar is not UTF-8 text \(byte 3\)\."):
        PolicyBundle({SCHEMA_FILE: SCHEMA, "site.cedar": b"// \xff"})


def test_too_large_a_bundle_is_refused_given_as_files_or_as_a_folder(tmp_path: Path) -> None:
    half = b"//" + b"x" * (MAX_BUNDLE_BYTES // 2)
    with pytest.raises(BundleInvalid, match="is larger than 1048576 bytes"):
        PolicyBundle({SCHEMA_FILE: SCHEMA, "a.cedar": half, "b.cedar": half})
    with pytest.raises(BundleInvalid, match="is larger than 1048576 bytes"):
        PolicyBundle.load(written(tmp_path / "bundle", a=half, b=half))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleInvalid, match=r"cannot be read: No such file or directory\."):
        PolicyBundle.load(tmp_path / "nowhere")


def test_a_link_in_the_folder_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "bundle")
    (tmp_path / "elsewhere.cedar").write_text(GOOD)
    (folder / "site.cedar").symlink_to(tmp_path / "elsewhere.cedar")
    with pytest.raises(BundleInvalid, match=r"site\.cedar in the policy bundle is not a plain file"):
        PolicyBundle.load(folder)


def test_a_pipe_in_the_folder_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    folder = written(tmp_path / "bundle")
    os.mkfifo(folder / "site.cedar")
    with pytest.raises(BundleInvalid, match=r"site\.cedar in the policy bundle is not a plain file"):
        PolicyBundle.load(folder)
