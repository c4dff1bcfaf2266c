"""The words a check or a control can end with, and how several become one.

The rule of aggregation, printed in every report: **the worst wins**, in the order of `_WORST_FIRST`. A
control that no check evaluates is NOT-EVALUATED; zero events are NO-POPULATION; neither is ever a pass
(D14).

* NOT-SATISFIED: something that should hold does not.
* PARTIAL: what was tested holds, and a named part could not be tested.
* WAIVED, NOT-APPLICABLE: a person decided so, with a name; they stay visible.
"""

from collections.abc import Iterable
from enum import StrEnum

from audit.evidence.framework import Framework


class Verdict(StrEnum):
    """How a check, and through it a control, ended."""

    SATISFIED = "SATISFIED"
    NOT_SATISFIED = "NOT-SATISFIED"
    PARTIAL = "PARTIAL"
    NOT_EVALUATED = "NOT-EVALUATED"
    NO_POPULATION = "NO-POPULATION"
    NOT_APPLICABLE = "NOT-APPLICABLE"
    WAIVED = "WAIVED"


#: The order in which verdicts are counted, drawn and listed.
VERDICT_ORDER = (
    Verdict.SATISFIED,
    Verdict.PARTIAL,
    Verdict.NOT_SATISFIED,
    Verdict.WAIVED,
    Verdict.NO_POPULATION,
    Verdict.NOT_EVALUATED,
    Verdict.NOT_APPLICABLE,
)

_WORST_FIRST = (
    Verdict.NOT_SATISFIED,
    Verdict.WAIVED,
    Verdict.PARTIAL,
    Verdict.NOT_EVALUATED,
    Verdict.NO_POPULATION,
    Verdict.SATISFIED,
    Verdict.NOT_APPLICABLE,
)

#: What each verdict means, in the words the report prints.
VERDICT_MEANING = {
    Verdict.SATISFIED: "Every item of the population was tested and the evidence supports the control.",
    Verdict.PARTIAL: "What was tested holds; a part of the control, named in the reason, was not tested.",
    Verdict.NOT_SATISFIED: "At least one item does not hold; the evidence item lists it.",
    Verdict.WAIVED: "A named person accepted a shortfall until a date; it stays listed.",
    Verdict.NO_POPULATION: "There was nothing to test in the period. This is not a pass.",
    Verdict.NOT_EVALUATED: "Not tested here, with the reason. This is not a pass.",
    Verdict.NOT_APPLICABLE: "A named person decided, with a reason, that the control does not apply.",
}

#: PCI DSS knows four findings; a control tested in part has not been tested as the assessor must.
_PCI_STATUS = {
    Verdict.SATISFIED: "In Place",
    Verdict.NOT_SATISFIED: "Not in Place",
    Verdict.WAIVED: "Not in Place",
    Verdict.PARTIAL: "Not Tested (in part)",
    Verdict.NO_POPULATION: "Not Tested",
    Verdict.NOT_EVALUATED: "Not Tested",
    Verdict.NOT_APPLICABLE: "Not Applicable",
}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Join the verdicts of several checks into one control's: the worst wins, none is NOT-EVALUATED."""
    found = set(verdicts)
    return next((verdict for verdict in _WORST_FIRST if verdict in found), Verdict.NOT_EVALUATED)


def status_in_framework(framework: Framework, verdict: Verdict) -> str:
    """The word the framework's own report would use; empty where it has none (HIPAA)."""
    return _PCI_STATUS[verdict] if framework is Framework.PCI else ""
