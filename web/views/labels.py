"""What labels of a guest mean, for the form that makes one: in words, and by what the policy in force says of each."""

from dataclasses import dataclass
from typing import Final

from policies.vocabulary import Action
from vault.site import Site

#: Labels that the policies which come with Strongroom know.
_EXPLAINED: Final = {
    "ephi": (
        "Holds patient records (HIPAA).",
        "Commands and files inside count as access to those records: only operators, each time recorded.",
    ),
    "chd": (
        "Holds card data (PCI DSS).",
        "Only operators reach inside, and nobody who is a key custodian as well.",
    ),
}
#: What somebody may want to do with a guest once it is there.
DEEDS: Final = (
    (Action.GUEST_START, "Start it"),
    (Action.GUEST_STOP, "Stop it"),
    (Action.GUEST_EXEC, "Run commands inside"),
    (Action.GUEST_COPY_IN, "Copy files in"),
    (Action.GUEST_COPY_OUT, "Copy files out"),
    (Action.GUEST_DELETE, "Delete it"),
)


@dataclass(frozen=True, slots=True)
class Label:
    """A label that can be chosen.

    Attributes:
        policies: ids of the policies in force that name it.
    """

    name: str
    meaning: str
    consequence: str
    policies: tuple[str, ...]


def known(site: Site) -> list[Label]:
    """The labels that the form offers."""
    return [
        Label(name, meaning, consequence, _naming(site, name))
        for name, (meaning, consequence) in _EXPLAINED.items()
    ]


def _naming(site: Site, label: str) -> tuple[str, ...]:
    return tuple(sorted(policy.id for policy in site.bundle.policies if f'"{label}"' in policy.form))
