"""Loads the control catalogues: what HIPAA and PCI DSS ask for, as far as this platform can show it.

A catalogue is data beside this module. It holds ids and our own paraphrases; PCI's text is copyrighted
and never in it. A report relies on its shape, so a file that lacks something is refused whole.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import TypeVar

from policies.errors import CatalogueInvalid


class Framework(StrEnum):
    """Whose controls these are; the word that `@control` annotations begin with."""

    HIPAA = "HIPAA"
    PCI = "PCI"


class Evidence(StrEnum):
    """Where evidence for a control comes from."""

    LOG = "L"
    CONFIGURATION = "C"
    INVENTORY = "I"
    KEY_STORE = "K"
    WORKFLOW = "W"  # a person's signed act: review, approval, drill, acknowledgment


class Requirement(StrEnum):
    """How HIPAA asks for a control. PCI DSS has no such grades."""

    REQUIRED = "required"
    ADDRESSABLE = "addressable"  # implemented, or an alternative, or a documented reason why not
    STANDARD = "standard"  # the standard itself, which its specifications fill
    PROPOSED = "proposed"  # in a proposal, binding nobody


@dataclass(frozen=True, slots=True)
class Control:
    """One control.

    Attributes:
        id: the framework's own number, such as `164.312(a)(2)(iv)` or `3.5.1.2`.
        title: a few words.
        paraphrase: what it asks for, in our words.
        test: what the evidence has to show.
        evidence: where the evidence comes from.
        requirement: HIPAA's grade; None for PCI DSS.
        service_provider_only: PCI DSS asks it of service providers only.
        note: what a reader of the report should know besides; may be empty.
        not_applicable: why it no longer applies to anybody; empty when it does.
        superseded_by: the controls that took its place.
    """

    id: str
    title: str
    paraphrase: str
    test: str
    evidence: tuple[Evidence, ...]
    requirement: Requirement | None
    service_provider_only: bool
    note: str
    not_applicable: str
    superseded_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A framework's controls, in the framework's order.

    Attributes:
        id: the file's name without its ending, such as `pci-dss-4.0.1`.
        framework: whose controls.
        title: the framework's name.
        edition: which text of it.
        binding: False for a preview of a proposal: report it apart, and say so.
        as_of: the day as of which this is known.
        statement: what a report must say of the catalogue.
        controls: the controls.
    """

    id: str
    framework: Framework
    title: str
    edition: str
    binding: bool
    as_of: date
    statement: str
    controls: tuple[Control, ...]

    def control(self, control_id: str) -> Control:
        """Look a control up by its id.

        Raises:
            CatalogueInvalid: the catalogue has no such control.
        """
        for control in self.controls:
            if control.id == control_id:
                return control
        raise CatalogueInvalid(f"Catalogue {self.id} has no control {control_id}.")


_Word = TypeVar("_Word", bound=StrEnum)

SHIPPED = ("hipaa", "pci-dss-4.0.1", "hipaa-2025-proposal")

_CONTROL_ID = re.compile(r"[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*(?:\([A-Za-z0-9]+\))*")
_CATALOGUE_KEYS = frozenset({"framework", "title", "edition", "binding", "as_of", "statement"})
_CONTROL_KEYS = frozenset({"id", "title", "paraphrase", "test", "evidence"})
_CONTROL_EXTRAS = frozenset(
    {"requirement", "service_provider_only", "note", "not_applicable", "superseded_by"}
)


@cache
def shipped_catalogue(catalogue_id: str) -> Catalogue:
    """Give one of the catalogues named in `SHIPPED`.

    Raises:
        CatalogueInvalid: no such catalogue.
    """
    if catalogue_id not in SHIPPED:
        raise CatalogueInvalid(
            f"There is no control catalogue {catalogue_id!r}.", f"There are: {', '.join(SHIPPED)}."
        )
    file = resources.files("policies").joinpath("controls", f"{catalogue_id}.toml")
    return read_catalogue(catalogue_id, file.read_bytes())


def read_catalogue(catalogue_id: str, content: bytes) -> Catalogue:
    """Read a catalogue from its file's bytes.

    Args:
        catalogue_id: what to call it.
        content: TOML, UTF-8: a table `catalogue` and an array of tables `control`.

    Raises:
        CatalogueInvalid: not TOML, or something is missing, unknown, doubled or of the wrong type.
    """
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise CatalogueInvalid(f"Catalogue {catalogue_id} is not TOML text in UTF-8.") from None
    return _Reader(catalogue_id).catalogue(document)


class _Reader:
    """Turns a parsed file into a catalogue, naming what is wrong and where."""

    def __init__(self, catalogue_id: str) -> None:
        self._id = catalogue_id
        self._where = "its head"

    def catalogue(self, document: Mapping[str, object]) -> Catalogue:
        self._expect_keys(document, frozenset({"catalogue", "control"}))
        head, rows = document["catalogue"], document["control"]
        if not isinstance(head, dict) or not isinstance(rows, list) or not rows:
            raise self._invalid("needs a table [catalogue] and tables [[control]]")
        self._expect_keys(head, _CATALOGUE_KEYS)
        framework = self._word(Framework, head, "framework")
        binding = self._truth(head, "binding")
        as_of = head["as_of"]
        if type(as_of) is not date:
            raise self._invalid("needs a date as_of")
        controls = tuple(self._control(row, framework, binding=binding) for row in rows)
        self._where = "its list of controls"
        self._check_references(controls)
        return Catalogue(
            id=self._id,
            framework=framework,
            title=self._text(head, "title"),
            edition=self._text(head, "edition"),
            binding=binding,
            as_of=as_of,
            statement=self._text(head, "statement"),
            controls=controls,
        )

    def _control(self, row: object, framework: Framework, *, binding: bool) -> Control:
        if not isinstance(row, dict):
            raise self._invalid("needs tables [[control]]")
        self._where = f"control {row.get('id')!r}"
        self._expect_keys(row, _CONTROL_KEYS, _CONTROL_EXTRAS)
        control_id = self._text(row, "id")
        if not _CONTROL_ID.fullmatch(control_id):
            raise self._invalid("has an id with odd characters")
        evidence = self._words(row, "evidence")
        if not evidence or set(evidence) - set(Evidence) or len(set(evidence)) != len(evidence):
            raise self._invalid(f"needs evidence from among {', '.join(Evidence)}, each once")
        service_provider_only = "service_provider_only" in row and self._truth(row, "service_provider_only")
        if service_provider_only and framework is not Framework.PCI:
            raise self._invalid("is for service providers, which only PCI DSS knows")
        return Control(
            id=control_id,
            title=self._text(row, "title"),
            paraphrase=self._text(row, "paraphrase"),
            test=self._text(row, "test"),
            evidence=tuple(Evidence(code) for code in evidence),
            requirement=self._requirement(row, framework, binding=binding),
            service_provider_only=service_provider_only,
            note=self._text(row, "note") if "note" in row else "",
            not_applicable=self._text(row, "not_applicable") if "not_applicable" in row else "",
            superseded_by=self._words(row, "superseded_by") if "superseded_by" in row else (),
        )

    def _requirement(
        self, row: Mapping[str, object], framework: Framework, *, binding: bool
    ) -> Requirement | None:
        if framework is Framework.PCI:
            if "requirement" in row:
                raise self._invalid("has a requirement, which only HIPAA grades")
            return None
        if "requirement" not in row:
            raise self._invalid("lacks requirement")
        requirement = self._word(Requirement, row, "requirement")
        if (requirement is Requirement.PROPOSED) is binding:
            raise self._invalid("is proposed in a binding catalogue, or binding in a proposal")
        return requirement

    def _check_references(self, controls: tuple[Control, ...]) -> None:
        ids = [control.id for control in controls]
        doubled = sorted({control_id for control_id in ids if ids.count(control_id) > 1})
        if doubled:
            raise self._invalid(f"has {doubled[0]} more than once")
        for control in controls:
            missing = sorted(set(control.superseded_by) - set(ids))
            if missing:
                raise self._invalid(f"lacks {missing[0]}, which is said to supersede {control.id}")

    def _expect_keys(
        self, table: Mapping[str, object], needed: frozenset[str], extras: frozenset[str] = frozenset()
    ) -> None:
        lacking = sorted(needed - set(table))
        if lacking:
            raise self._invalid(f"lacks {lacking[0]}")
        unknown = sorted(set(table) - needed - extras)
        if unknown:
            raise self._invalid(f"has an unknown key {unknown[0]}")

    def _text(self, table: Mapping[str, object], key: str) -> str:
        value = table[key]
        if not isinstance(value, str) or not value or value != " ".join(value.split()):
            raise self._invalid(f"needs {key} as a line of text")
        return value

    def _truth(self, table: Mapping[str, object], key: str) -> bool:
        value = table[key]
        if not isinstance(value, bool):
            raise self._invalid(f"needs {key} as true or false")
        return value

    def _words(self, table: Mapping[str, object], key: str) -> tuple[str, ...]:
        value = table[key]
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self._invalid(f"needs {key} as a list of words")
        return tuple(value)

    def _word(self, kind: type[_Word], table: Mapping[str, object], key: str) -> _Word:
        value = table[key]
        if not isinstance(value, str) or value not in set(kind):
            raise self._invalid(f"needs {key} as one of {', '.join(kind)}")
        return kind(value)

    def _invalid(self, what: str) -> CatalogueInvalid:
        return CatalogueInvalid(f"Catalogue {self._id} {what} ({self._where}).")
