"""Every code a finding can have: how grave it is, what it is called, and what to do about it.

All checks and watches write to one list (`vault.findings`) with one of these codes. A new check adds its code here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How soon somebody must look."""

    CRITICAL = "critical"  # data or log may be lost or read: now
    HIGH = "high"  # somebody may be doing what they should not, or a protection is missing: today
    MEDIUM = "medium"  # it works on, and will not for ever: this week
    LOW = "low"


@dataclass(frozen=True, slots=True)
class FindingCode:
    """What findings of one code have in common.

    Attributes:
        severity: how soon somebody must look.
        title: what it is, in a few words.
        remedy: what to do, where the finding itself does not say more exactly.
        by_hand: a person may close it, with a reason; otherwise only the check that no longer sees it does. One that
            was closed by hand opens again when its check still sees it.
    """

    severity: Severity
    title: str
    remedy: str
    by_hand: bool = True


_DISK_CHANGED = (
    "Find out who changed the disk outside Strongroom; move the data to a new guest with a new key."
)
_OUTSIDE = "Find out who did it on the host (libvirt's log, sudo, auditd), and why."

FINDING_CODES: Mapping[str, FindingCode] = {
    # --- Disks: measured before each start, after each stop ------------------------------------------
    "disk.keyslot_unknown": FindingCode(
        Severity.CRITICAL, "A disk has a second way in that nobody here made", _DISK_CHANGED
    ),
    "disk.keyslot_lost": FindingCode(Severity.CRITICAL, "A keyslot of a disk is gone", _DISK_CHANGED),
    "disk.header_changed": FindingCode(Severity.CRITICAL, "The way into a disk was exchanged", _DISK_CHANGED),
    "disk.not_encrypted": FindingCode(Severity.CRITICAL, "A disk is not encrypted", _DISK_CHANGED),
    "disk.unreadable": FindingCode(
        Severity.CRITICAL,
        "A disk cannot be measured",
        "Look at the file and its device; restore it from a backup.",
    ),
    # --- Guests -----------------------------------------------------------------------------------------
    "guest.unknown_domain": FindingCode(
        Severity.HIGH,
        "A domain carries this site's mark and is no guest of it",
        "Find out who started it; stop it with virsh.",
    ),
    "guest.autostart_failed": FindingCode(
        Severity.HIGH, "A guest did not start by itself", "Start it by hand and look at the answer."
    ),
    "outside.started": FindingCode(Severity.HIGH, "A guest was started outside Strongroom", _OUTSIDE),
    "outside.stopped": FindingCode(Severity.HIGH, "A guest was stopped outside Strongroom", _OUTSIDE),
    "outside.paused": FindingCode(Severity.HIGH, "A guest was paused outside Strongroom", _OUTSIDE),
    "outside.resumed": FindingCode(Severity.HIGH, "A guest was resumed outside Strongroom", _OUTSIDE),
    "outside.crashed": FindingCode(Severity.HIGH, "A guest crashed", _OUTSIDE),
    "outside.defined": FindingCode(Severity.HIGH, "A guest was defined persistently in libvirt", _OUTSIDE),
    "outside.block_job": FindingCode(Severity.HIGH, "A running guest's disk was copied or changed", _OUTSIDE),
    "outside.monitor": FindingCode(Severity.HIGH, "QEMU's monitor of a running guest was used", _OUTSIDE),
    "outside.agent_connected": FindingCode(Severity.HIGH, "A guest's agent was connected", _OUTSIDE),
    "outside.agent_disconnected": FindingCode(Severity.HIGH, "A guest's agent was disconnected", _OUTSIDE),
    # --- Policy, log, keys, host: errors of the gate that a person must hear of (vault.operations.alarms) --
    "policy.evaluation_failed": FindingCode(
        Severity.HIGH,
        "A policy could not be evaluated, so it denied",
        "Look at the record, and at the policy with `strongroom policy check`; until it is mended nobody gets through.",
    ),
    "log.verification_failed": FindingCode(
        Severity.CRITICAL,
        "The log does not verify",
        "Export the log as it is, compare it with an earlier export, and find out who changed it.",
        by_hand=False,
    ),
    "log.checkpoint_contradicted": FindingCode(
        Severity.CRITICAL,
        "The log does not hold what was signed before",
        "Keep the log and the checkpoint as they are, and find out who cut or rewrote the log.",
    ),
    "log.replay_differs": FindingCode(
        Severity.CRITICAL,
        "A recorded decision does not come out again",
        "Verify the log, export it as it is, and look at the record that is named.",
    ),
    "log.unavailable": FindingCode(
        Severity.HIGH,
        "The log could not be written for a while",
        "Find out why (a full disk?) and write the cause into the reason; nothing was done without a record.",
    ),
    "witness.refuses": FindingCode(
        Severity.CRITICAL,
        "A witness has seen another history of the log",
        "Stop, keep the log as it is, and compare it with the witness's checkpoint: the log was forked or put back.",
    ),
    "witness.missing": FindingCode(
        Severity.HIGH,
        "A witness has never cosigned the log",
        "Look whether it runs, is reached, and trusts the log's key (`strongroom witness trust`).",
        by_hand=False,
    ),
    "witness.stale": FindingCode(
        Severity.HIGH,
        "A witness has not cosigned the log for too long",
        "Look whether it runs and is reached; what it has not seen, a thief of the keys could rewrite.",
        by_hand=False,
    ),
    "gate.outcome_not_recorded": FindingCode(
        Severity.CRITICAL,
        "Something was done whose outcome could not be recorded",
        "Mend the log's storage, restart the daemon, and look at the record that settles it.",
    ),
    "keystore.damaged": FindingCode(
        Severity.CRITICAL,
        "The key store is damaged",
        "Restore it from its backup, then unseal it.",
        by_hand=False,
    ),
    # --- Log, state and key store of different ages (decision record 17) -----------------------------------
    "keystore.unusable": FindingCode(
        Severity.CRITICAL,
        "The key store is not there, or no sound one",
        "Attach its device, or restore it from its backup, then unseal it.",
        by_hand=False,
    ),
    "keystore.older": FindingCode(
        Severity.CRITICAL,
        "The key store is older than the state",
        "Put the newest copy of the key store in its place; without it, what the missing keys closed is lost.",
        by_hand=False,
    ),
    "state.older": FindingCode(
        Severity.CRITICAL,
        "The state is older than the key store",
        "Put the newest copy of state.db in its place; the guest's disk is still there.",
        by_hand=False,
    ),
    "log.head_missing": FindingCode(
        Severity.HIGH,
        "The log's noted head was missing at the start",
        "Compare the log with a checkpoint that is kept elsewhere: strongroom verify --trust.",
    ),
    "key.decryption_failed": FindingCode(
        Severity.CRITICAL,
        "A wrapped key did not open",
        "Compare the key store with its backup: somebody may have exchanged a key in it.",
    ),
    "key.intent_refused": FindingCode(
        Severity.CRITICAL,
        "A key was asked for without a fitting record in the log",
        "Seal the key store and find out who asked: the daemon itself never does.",
    ),
    "host.unprotected": FindingCode(
        Severity.HIGH,
        "The host would leave keys on a disk",
        "Run `strongroom doctor --fix`, then start the guest again.",
        by_hand=False,
    ),
    "integrity.failure": FindingCode(
        Severity.CRITICAL,
        "Something is not what it was",
        "Find out who changed it; restore it from a backup.",
    ),
    # --- Jobs ---------------------------------------------------------------------------------------------
    "job.gave_up": FindingCode(
        Severity.MEDIUM,
        "A job was under way each time the daemon stopped",
        "Look in the daemon's log for what stopped it, then start the job again.",
    ),
}
