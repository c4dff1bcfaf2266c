"""Check that recorded decisions come out again when they are made from the recorded policies and inputs."""

from audit.evidence.check import Check, CheckResult, Snapshot, Support, Table, judged, not_evaluated
from audit.evidence.framework import Framework

_QUERY = (
    "every record of the period with a decision, evaluated again with the policy bundle and the inputs that it names; "
    "those that come out otherwise, or could not be made again"
)


def _replayed(snapshot: Snapshot) -> CheckResult:
    if not snapshot.log.proof.holds:
        return not_evaluated(
            "The log does not verify, so its decisions were not made again.", unit="decisions", query=_QUERY
        )
    found = snapshot.log.replay()
    return judged(
        population=found.decisions,
        violations=found.different,
        unit="decisions",
        query=_QUERY,
        holds=(
            f"Every recorded decision ({found.decisions:,}) comes out again with the same verdict and policies, under "
            f"{found.bundles} policy bundles."
        ),
        fails=f"Decisions that do not come out as recorded: {found.different:,} of {found.decisions:,}.",
        empty="No decision was recorded in the period.",
        seqs=snapshot.log.span,
        table=Table.of(
            ("record", "finding", "detail"),
            ((each.seq, each.code, each.detail) for each in found.differences),
        ),
    )


CHECKS = (
    Check(
        id="decision.replayed",
        version=1,
        title="Recorded decisions come out again",
        supports={
            Framework.HIPAA: (
                Support(
                    "164.312(a)(1)", "whether the policies grant no more than the work needs is for people"
                ),
            ),
            Framework.PCI: (Support("7.3.2", "whether the roles fit the work is for people"),),
        },
        evaluate=_replayed,
    ),
)
