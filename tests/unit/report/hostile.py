"""A site and a log whose every free string is an attempt on the report."""

from audit.evidence.check import Snapshot
from audit.evidence.framework import Framework
from tests.unit.evidence.examples import (
    CARDS,
    CLINIC,
    Story,
    account,
    changed,
    disk,
    guest,
    healthy_facts,
    key,
    snapshot,
)

BOLD = "<b>x"
WHITE = '<font color="white">hidden</font>'
IMAGE = '<img src="http://attacker.example/x.png"/>'
SCRIPT = "</td><script>alert(1)</script>"
REVERSED = "exe.\u202egpj"
LONG = "A" * 10_000
WIDE = "W" * 10_000
FOREIGN = "医院の記録"
BROKEN = "a\nb\x00\x1b[31m"

ALL = (BOLD, WHITE, IMAGE, SCRIPT, REVERSED, LONG, WIDE, FOREIGN, BROKEN)


def hostile_story() -> Story:
    """Records that carry each string as principal, action and resource, and hold nowhere."""
    story = Story()
    for text in ALL:
        story.add("external", f"guest.{text}", principal=f"os:{text}", resource=f"guest:{text}")
        story.add(
            "access", text, principal=text, resource=text, changes={"session": None, "policies": (text,)}
        )
        story.deny(text, principal=text, resource=text)
    return story


def hostile_snapshot(framework: Framework) -> Snapshot:
    """A snapshot in which guests, disks, keys, accounts and the system itself are named so."""
    facts = changed(healthy_facts(), "system", name=f"{BOLD}{LONG}", host=WHITE, kernel=SCRIPT)
    facts = changed(facts, "log", origin=IMAGE, vkey=LONG, checkpoint=f"{IMAGE}\n{LONG}\n")
    named = [
        guest(
            f"{text}-{number}",
            text,
            "ephi",
            "chd",
            text,
            disks=(disk(text, path=text, cipher=text, error=text),),
        )
        for number, text in enumerate(ALL)
    ]
    facts = facts.model_copy(
        update={
            "guests": (*named, guest(CLINIC, IMAGE, "ephi"), guest(CARDS, BOLD, "chd")),
            "keys": tuple(key(text, owner=text, location=text, algorithm=text) for text in ALL),
            "accounts": tuple(account(text, text) for text in ALL),
        }
    )
    return snapshot(framework, facts, hostile_story().events)
