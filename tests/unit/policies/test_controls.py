"""The catalogues hold every control that reports speak of, and a damaged one is refused whole."""

from datetime import date

import pytest

from policies.controls import (
    SHIPPED,
    Evidence,
    Framework,
    Requirement,
    read_catalogue,
    shipped_catalogue,
)
from policies.errors import CatalogueInvalid, ExitCode

#: Every id that the design's table of controls names, written out, independently of the files. R, A and S
#: are required, addressable and standard.
HIPAA = """
308(a)(1)(ii)(A)R 308(a)(1)(ii)(B)R 308(a)(1)(ii)(C)R 308(a)(1)(ii)(D)R 308(a)(2)R
308(a)(3)(ii)(A)A 308(a)(3)(ii)(B)A 308(a)(3)(ii)(C)A 308(a)(4)(ii)(B)A 308(a)(4)(ii)(C)A
308(a)(5)(ii)(A)A 308(a)(5)(ii)(B)A 308(a)(5)(ii)(C)A 308(a)(5)(ii)(D)A 308(a)(6)(ii)R
308(a)(7)(ii)(A)R 308(a)(7)(ii)(B)R 308(a)(7)(ii)(C)R 308(a)(7)(ii)(D)A 308(a)(7)(ii)(E)A 308(a)(8)R
308(b)(1)S 308(b)(2)S 308(b)(3)R
310(a)(2)(i)A 310(a)(2)(ii)A 310(a)(2)(iii)A 310(a)(2)(iv)A
310(d)(2)(i)R 310(d)(2)(ii)R 310(d)(2)(iii)A 310(d)(2)(iv)A
312(a)(1)R 312(a)(2)(i)R 312(a)(2)(ii)R 312(a)(2)(iii)A 312(a)(2)(iv)A 312(b)R 312(c)(1)S 312(c)(2)A
312(d)R 312(e)(1)S 312(e)(2)(i)A 312(e)(2)(ii)A
314(a)(1)S 314(a)(2)(i)R 314(a)(2)(ii)R 314(a)(2)(iii)R
316(b)(2)(i)R 316(b)(2)(ii)R 316(b)(2)(iii)R
402S 404S 406S 408S 410S 412S 414S
"""
PCI = """
1.2.3 1.2.4 1.2.5 1.2.6 1.2.7 1.3.1 1.3.2 1.3.3 1.4.1 1.4.2 1.4.3 1.4.4 1.4.5 2.2.3 2.2.7
3.4.2 3.5.1 3.5.1.2 3.5.1.3 3.6.1 3.6.1.1 3.6.1.2 3.6.1.3 3.6.1.4
3.7.1 3.7.2 3.7.3 3.7.4 3.7.5 3.7.6 3.7.7 3.7.8 3.7.9
6.3.3 6.5.1 6.5.2 6.5.3 6.5.4 6.5.5 6.5.6
7.2.1 7.2.2 7.2.3 7.2.4 7.2.5 7.2.5.1 7.2.6 7.3.1 7.3.2 7.3.3
8.2.1 8.2.2 8.2.3 8.2.4 8.2.5 8.2.6 8.2.7 8.2.8
8.3.1 8.3.2 8.3.3 8.3.4 8.3.5 8.3.6 8.3.7 8.3.9 8.3.11 8.4.1 8.4.2 8.4.3 8.5.1 8.6.1 8.6.2 8.6.3
9.4.1 9.4.1.1 9.4.1.2 9.4.2 9.4.3 9.4.4 9.4.5 9.4.5.1 9.4.7
10.2.1.1 10.2.1.2 10.2.1.3 10.2.1.4 10.2.1.5 10.2.1.6 10.2.1.7 10.2.2
10.3.1 10.3.2 10.3.3 10.3.4 10.4.1 10.4.1.1 10.4.2 10.4.2.1 10.4.3 10.5.1 10.6.1 10.6.2 10.6.3
10.7.1 10.7.2 10.7.3 11.4.5 11.5.1 11.5.2
12.3.1 12.3.3 12.5.1 12.5.2 12.5.2.1 12.8.5
12.10.1 12.10.2 12.10.3 12.10.4 12.10.4.1 12.10.5 12.10.6 12.10.7
A1.1.1 A1.1.2 A1.1.3 A1.1.4
"""
PROVIDERS_ONLY = "3.6.1.1 3.7.9 8.2.3 10.7.1 12.5.2.1 A1.1.1 A1.1.2 A1.1.3 A1.1.4"
GRADES = {"R": Requirement.REQUIRED, "A": Requirement.ADDRESSABLE, "S": Requirement.STANDARD}


# --- What is shipped ---------------------------------------------------------------------------------------


def test_the_hipaa_catalogue_holds_every_control_with_its_grade() -> None:
    graded = [(f"164.{word[:-1]}", GRADES[word[-1]]) for word in HIPAA.split()]
    controls = shipped_catalogue("hipaa").controls
    assert [(control.id, control.requirement) for control in controls] == graded


def test_the_pci_catalogue_holds_every_control_and_knows_those_for_providers() -> None:
    controls = shipped_catalogue("pci-dss-4.0.1").controls
    assert [control.id for control in controls] == PCI.split()
    assert [control.id for control in controls if control.service_provider_only] == PROVIDERS_ONLY.split()


def test_the_superseded_requirement_says_since_when_and_by_what() -> None:
    catalogue = shipped_catalogue("pci-dss-4.0.1")
    gone = [control for control in catalogue.controls if control.not_applicable]
    assert [(control.id, control.superseded_by) for control in gone] == [("10.7.1", ("10.7.2",))]
    assert "31 March 2025" in gone[0].not_applicable


def test_the_proposal_is_a_profile_of_its_own_that_binds_nobody() -> None:
    binding = {name: shipped_catalogue(name).binding for name in SHIPPED}
    assert binding == {"hipaa": True, "pci-dss-4.0.1": True, "hipaa-2025-proposal": False}
    proposal = shipped_catalogue("hipaa-2025-proposal")
    assert proposal.framework is Framework.HIPAA
    assert proposal.as_of == date(2026, 6, 30)
    assert "not in force" in proposal.statement
    assert {control.requirement for control in proposal.controls} == {Requirement.PROPOSED}
    assert len(proposal.controls) == 13


def test_the_honest_limits_are_in_the_catalogue() -> None:
    pci = shipped_catalogue("pci-dss-4.0.1")
    assert "this platform alone does not meet it" in pci.control("3.5.1.2").note
    assert "not secure cryptographic devices" in pci.control("3.6.1.2").note
    assert pci.control("3.5.1").evidence == (Evidence.WORKFLOW,)
    assert "XTS alone" in shipped_catalogue("hipaa").control("164.312(c)(2)").note


def test_no_catalogue_calls_anybody_compliant() -> None:
    for name in SHIPPED:
        for control in shipped_catalogue(name).controls:
            assert "compliant" not in f"{control.title} {control.paraphrase} {control.test}".lower()


def test_a_control_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CatalogueInvalid, match=r"Catalogue hipaa has no control 164\.999\."):
        shipped_catalogue("hipaa").control("164.999")


def test_a_catalogue_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CatalogueInvalid, match=r"There is no control catalogue '../secrets'\."):
        shipped_catalogue("../secrets")


# --- What is refused ----------------------------------------------------------------------------------------

HEAD = """
[catalogue]
framework = "HIPAA"
title = "T"
edition = "E"
binding = true
as_of = 2026-06-30
statement = "S"
"""
CONTROL = """
[[control]]
id = "164.312(b)"
title = "T"
requirement = "required"
evidence = ["L"]
paraphrase = "P"
test = "X"
"""
PROPOSED_AMISS = (
    "Catalogue t is proposed in a binding catalogue, or binding in a proposal (control '164.312(b)')."
)
GRADE_AMISS = (
    "Catalogue t needs requirement as one of required, addressable, standard, proposed "
    "(control '164.312(b)')."
)
PCI_HEAD = HEAD.replace("HIPAA", "PCI")
PCI_CONTROL = CONTROL.replace('requirement = "required"\n', "").replace("164.312(b)", "1.2.3")


def test_a_whole_catalogue_is_read() -> None:
    control = read_catalogue("t", (HEAD + CONTROL).encode()).control("164.312(b)")
    assert (control.note, control.not_applicable, control.superseded_by) == ("", "", ())
    assert not control.service_provider_only
    provider = read_catalogue("t", (PCI_HEAD + PCI_CONTROL + "service_provider_only = true").encode())
    assert provider.controls[0].service_provider_only
    assert provider.controls[0].requirement is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[catalogue", "Catalogue t is not TOML text in UTF-8."),
        (HEAD, "Catalogue t lacks control (its head)."),
        (CONTROL, "Catalogue t lacks catalogue (its head)."),
        (
            "catalogue = 1\ncontrol = []",
            "Catalogue t needs a table [catalogue] and tables [[control]] (its head).",
        ),
        (
            "control = []" + HEAD,
            "Catalogue t needs a table [catalogue] and tables [[control]] (its head).",
        ),
        ("control = [1]" + HEAD, "Catalogue t needs tables [[control]] (its head)."),
        ("extra = 1" + HEAD + CONTROL, "Catalogue t has an unknown key extra (its head)."),
        (HEAD.replace('title = "T"\n', "") + CONTROL, "Catalogue t lacks title (its head)."),
        (
            HEAD.replace("HIPAA", "SOC2") + CONTROL,
            "Catalogue t needs framework as one of HIPAA, PCI (its head).",
        ),
        (
            HEAD.replace('"HIPAA"', "7") + CONTROL,
            "Catalogue t needs framework as one of HIPAA, PCI (its head).",
        ),
        (HEAD.replace("true", '"yes"') + CONTROL, "Catalogue t needs binding as true or false (its head)."),
        (HEAD.replace("2026-06-30", '"today"') + CONTROL, "Catalogue t needs a date as_of (its head)."),
        (
            HEAD.replace("2026-06-30", "2026-06-30T00:00:00Z") + CONTROL,
            "Catalogue t needs a date as_of (its head).",
        ),
        (HEAD + CONTROL.replace('id = "164.312(b)"\n', ""), "Catalogue t lacks id (control None)."),
        (HEAD + CONTROL + "severity = 1", "Catalogue t has an unknown key severity (control '164.312(b)')."),
        (
            HEAD + CONTROL.replace("164.312(b)", "164 312"),
            "Catalogue t has an id with odd characters (control '164 312').",
        ),
        (
            HEAD + CONTROL.replace('title = "T"', 'title = ""'),
            "Catalogue t needs title as a line of text (control '164.312(b)').",
        ),
        (
            HEAD + CONTROL.replace('test = "X"', 'test = "X\\n"'),
            "Catalogue t needs test as a line of text (control '164.312(b)').",
        ),
        (
            HEAD + CONTROL.replace('paraphrase = "P"', "paraphrase = 1"),
            "Catalogue t needs paraphrase as a line of text (control '164.312(b)').",
        ),
        (
            HEAD + CONTROL.replace('["L"]', "[]"),
            "Catalogue t needs evidence from among L, C, I, K, W, each once (control '164.312(b)').",
        ),
        (
            HEAD + CONTROL.replace('["L"]', '["L", "L"]'),
            "Catalogue t needs evidence from among L, C, I, K, W, each once (control '164.312(b)').",
        ),
        (
            HEAD + CONTROL.replace('["L"]', '["Z"]'),
            "Catalogue t needs evidence from among L, C, I, K, W, each once (control '164.312(b)').",
        ),
        (
            HEAD + CONTROL.replace('["L"]', '"L"'),
            "Catalogue t needs evidence as a list of words (control '164.312(b)').",
        ),
        (
            HEAD + CONTROL.replace('["L"]', "[1]"),
            "Catalogue t needs evidence as a list of words (control '164.312(b)').",
        ),
        (
            HEAD + CONTROL.replace('requirement = "required"\n', ""),
            "Catalogue t lacks requirement (control '164.312(b)').",
        ),
        (
            HEAD + CONTROL.replace('"required"', '"optional"'),
            GRADE_AMISS,
        ),
        (
            HEAD + CONTROL.replace('"required"', '"proposed"'),
            PROPOSED_AMISS,
        ),
        (
            HEAD.replace("true", "false") + CONTROL,
            PROPOSED_AMISS,
        ),
        (
            HEAD + CONTROL + "service_provider_only = true",
            "Catalogue t is for service providers, which only PCI DSS knows (control '164.312(b)').",
        ),
        (
            PCI_HEAD + CONTROL,
            "Catalogue t has a requirement, which only HIPAA grades (control '164.312(b)').",
        ),
        (HEAD + CONTROL + CONTROL, "Catalogue t has 164.312(b) more than once (its list of controls)."),
        (
            HEAD + CONTROL + 'superseded_by = ["164.1"]',
            "Catalogue t lacks 164.1, which is said to supersede 164.312(b) (its list of controls).",
        ),
    ],
)
def test_a_damaged_catalogue_is_refused_with_the_place(text: str, sentence: str) -> None:
    with pytest.raises(CatalogueInvalid) as refused:
        read_catalogue("t", text.encode())
    assert refused.value.message == sentence
    assert refused.value.exit_code is ExitCode.BAD_INPUT


def test_a_catalogue_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(CatalogueInvalid, match="is not TOML text in UTF-8"):
        read_catalogue("t", b"\xff")
