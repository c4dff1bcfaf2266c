"""The frameworks a report can be made for, and what differs between them for a check.

A check is written once and asks the framework which label puts a guest in scope, how long logs are kept and
how a control is cited; everything else about a framework is data in its control catalogue.
"""

from enum import StrEnum

from audit.evidence.errors import FrameworkUnknown
from policies.controls import Catalogue, shipped_catalogue


class Framework(StrEnum):
    """A set of controls; the value is what people type."""

    HIPAA = "hipaa"
    PCI = "pci"

    @property
    def full_title(self) -> str:
        """How the framework is called on a cover."""
        return {
            Framework.HIPAA: "HIPAA Security Rule",
            Framework.PCI: "PCI DSS v4.0.1",
        }[self]

    @property
    def catalogue(self) -> Catalogue:
        """The controls, as shipped."""
        return shipped_catalogue({Framework.HIPAA: "hipaa", Framework.PCI: "pci-dss-4.0.1"}[self])

    @property
    def short(self) -> str:
        """How the framework is called in a running line."""
        return {Framework.HIPAA: "HIPAA Security Rule", Framework.PCI: "PCI DSS v4.0.1"}[self]

    @property
    def scope_label(self) -> str:
        """The guest label that puts a guest in the framework's scope."""
        return {Framework.HIPAA: "ephi", Framework.PCI: "chd"}[self]

    @property
    def scope_words(self) -> str:
        """What the label stands for."""
        return {
            Framework.HIPAA: "electronic protected health information",
            Framework.PCI: "cardholder data",
        }[self]


def framework_named(untrusted: str) -> Framework:
    """The framework with this name.

    Raises:
        FrameworkUnknown: there is none.
    """
    try:
        return Framework(untrusted)
    except ValueError as error:
        known = " or ".join(framework.value for framework in Framework)
        raise FrameworkUnknown(f"There is no framework {untrusted[:40]!r}.", f"Choose {known}.") from error
