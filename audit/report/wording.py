"""The sentences of a report that differ between frameworks, and those no reader must miss.

Our own words throughout: PCI DSS is copyrighted and never quoted. Nothing here says that a law or standard is
met; evidence supports, or it does not (D14).
"""

from audit.evidence.framework import Framework
from audit.report.model import Callout, Tone
from policies.controls import Control, Requirement

EVIDENCE_ONLY = (
    "Where this report says SATISFIED, the evidence supports the control as far as this platform can see "
    "it. It is not a certificate and not a legal opinion; those are for your auditor, assessor or counsel."
)

_COVER_WARNINGS = {
    Framework.HIPAA: (
        Callout(
            Tone.WARNING,
            "What encryption counts for, and what not",
            "Encrypted disks protect data on stolen, lost or discarded media. While a guest runs, its data "
            "is readable inside it without a further request. Encryption takes a loss out of the breach "
            "rule only where the key was not lost with the data: this report says for each disk where its "
            "key lies.",
        ),
    ),
    Framework.PCI: (
        Callout(
            Tone.WARNING,
            "Disk encryption alone does not meet requirement 3.5.1.2",
            "LUKS protects media that are powered off or stolen. Once a guest runs, its data is readable "
            "inside it without a further request. The standard treats the fixed drives of a data centre as "
            "non-removable, and accepts disk encryption alone for removable media only, so this platform "
            "by itself leaves 3.5.1.2 not in place. Card numbers must be made unreadable by another method "
            "as well.",
        ),
    ),
}


def cover_warnings(framework: Framework) -> tuple[Callout, ...]:
    """What must stand on the cover of this framework's report."""
    return _COVER_WARNINGS[framework]


def limits(framework: Framework) -> tuple[str, ...]:
    """What the platform cannot see or prevent, for the scope section."""
    own = {
        Framework.HIPAA: (
            (
                "The six years of 45 CFR 164.316 cover required documentation. Raw logs are not named there; "
                "that they are kept as long is our policy."
            ),
            (
                "The rule in force does not ask for a second factor. Where this report mentions one, it is "
                "our policy."
            ),
            (
                "An addressable specification without evidence here needs your documented alternative, or "
                "your reason why it is not reasonable; a bare 'not applicable' is not enough."
            ),
        ),
        Framework.PCI: (
            "Evidence is of the kind 'examine' only. Observations and interviews are the assessor's.",
            (
                "The words In Place, Not in Place, Not Tested and Not Applicable beside our verdicts say "
                "where the evidence points; the assessor decides. A control tested in part is shown as Not "
                "Tested (in part)."
            ),
            (
                "Whether your organisation is a service provider is not known here; requirements for service "
                "providers only are marked."
            ),
        ),
    }[framework]
    return (
        (
            "Only this installation was looked at. What happens inside guests, on other hosts and on paper "
            "is not visible to it, and each control says so where that matters."
        ),
        (
            "Root on the host can read a running guest through its memory, through libvirt or through QEMU's "
            "monitor; what the platform sees of it becomes a record."
        ),
        "LUKS in XTS mode keeps disks secret; it does not show whether bytes on them were altered.",
        "Records after the log's last checkpoint held elsewhere are protected only by this host.",
        *own,
    )


#: Who answers for what: subject, platform, organisation.
RESPONSIBILITIES: tuple[tuple[str, str, str], ...] = (
    (
        "Disks and keys",
        "Encrypts every guest disk, keeps keys wrapped, hands one out only against a recorded decision.",
        "Keeps the seal's passphrase or shares, and the key store's device, apart from the disks.",
    ),
    (
        "Access",
        "Asks the policy before every act, records the answer first, refuses by default.",
        "Decides who holds which role, approves grants, reviews them, removes people who leave.",
    ),
    (
        "Guests",
        "Starts them from measured disks, each as a host user of its own, labelled as told.",
        "Labels them truthfully, patches them, controls what runs and logs in them.",
    ),
    (
        "Log",
        "Chains, signs and verifies it; shows gaps.",
        "Reviews it, copies checkpoints to another place, answers what it shows.",
    ),
    (
        "Host and site",
        "Measures what it relies on and refuses to start where that is missing.",
        "Guards the machine, its administrators, network, time source, backups and premises.",
    ),
)


def grade(control: Control) -> str:
    """How the framework asks for a control, for the index: `Required`, `Addressable`, `Service providers`."""
    if control.requirement is Requirement.REQUIRED:
        return "Required"
    if control.requirement is Requirement.ADDRESSABLE:
        return "Addressable"
    if control.requirement is Requirement.STANDARD:
        return "Standard"
    if control.requirement is Requirement.PROPOSED:
        return "Proposed"
    return "Service providers only" if control.service_provider_only else ""


_HIPAA_GROUPS = {
    "164.308": "Administrative safeguards",
    "164.310": "Physical safeguards",
    "164.312": "Technical safeguards",
    "164.314": "Organisational requirements",
    "164.316": "Policies, procedures and documentation",
    "164.4": "Breach notification",
}

_PCI_GROUPS = {
    "1": "Network security controls",
    "2": "Secure configurations",
    "3": "Stored account data",
    "4": "Transmission of card data",
    "5": "Malicious software",
    "6": "Secure systems and software",
    "7": "Access by need to know",
    "8": "Identification and authentication",
    "9": "Physical access and media",
    "10": "Logging and monitoring",
    "11": "Regular testing",
    "12": "Policies and programmes",
    "A1": "Multi-tenant service providers",
}


def group_of(framework: Framework, control_id: str) -> tuple[str, str]:
    """The group a control is summed up under: a short anchor and a title, in our words."""
    if framework is Framework.HIPAA:
        for prefix, title in _HIPAA_GROUPS.items():
            if control_id.startswith(prefix):
                cited = f"§{prefix}" if len(prefix) > len("164.4") else "§164.400 to 164.414"
                return prefix.replace(".", "-"), f"{cited} {title}"
        return "other", "Other"
    number = control_id.split(".", 1)[0]
    title = _PCI_GROUPS.get(number, "Other")
    kind = "Appendix" if number.startswith("A") else "Requirement"
    return number, f"{kind} {number} {title}"


def cited(framework: Framework, control_id: str) -> str:
    """A control's id as the framework cites it."""
    return f"§{control_id}" if framework is Framework.HIPAA else control_id
