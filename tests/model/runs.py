"""What is run: each model as it is, and with each defect that one of its properties must catch.

A model that cannot fail proves nothing, so a defect that is not caught fails the run as a violated property does.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[2] / "docs" / "model"
_VIOLATED = re.compile(r"assertion violated (.*) \(at depth")
_STATES = re.compile(r"(\d+) states, stored")
_MOST_DEPTH = 100_000
_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the checker.

    Attributes:
        model: name of the file.
        defect: the defect that is seeded; None runs the model as it is.
        breaks: a part of the assertion that the defect must violate, as C writes it.
        depth: where the search for a seeded defect ends; it is found long before.
    """

    model: str
    defect: str | None = None
    breaks: str = ""
    depth: int = _MOST_DEPTH


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended: the violated assertion or None, the states visited, and whether the search was whole."""

    violated: str | None
    states: int
    whole: bool


RUNS: Final = (
    Run("gate"),
    Run("gate", "ACTS_BEFORE_INTENT", "intent_stored"),
    Run("gate", "ACTS_THOUGH_PATIENCE_ENDED", "outcomes_stored"),
    Run("gate", "TAKES_NO_LOCK", "acting==1", depth=60),
    Run("gate", "ACKNOWLEDGES_BEFORE_COMMIT", "outcomes_stored"),
    Run("gate", "FORGETS_LATE_INTENTS", "stopped||"),
    Run("gate", "SERVES_BEFORE_SETTLING", "acting==1"),
    Run("epochs"),
    Run("epochs", "RECORDS_BEFORE_KEY_IS_DURABLE", "upcoming==logged"),
    Run("epochs", "DESTROYS_BEFORE_RECORDING", "upcoming==logged"),
    Run("epochs", "KEEPS_THE_OLD_KEY", "upcoming==0"),
    Run("takeover"),
    Run("takeover", "WITNESS_CHECKS_NOTHING", "signed_forged"),
    Run("takeover", "WITNESS_ANSWERS_BEFORE_IT_PERSISTS", "signed_forged"),
    Run("takeover", "NO_WITNESS_DEMANDED", "noted"),
    Run("takeover", "KEEPS_OLD_EPOCH_KEYS", "epoch_start"),
)


def check(run: Run, folder: Path) -> Result:
    """Search the model's states.

    Args:
        run: what to run.
        folder: an empty folder for what spin and the compiler make.

    Raises:
        RuntimeError: spin, the compiler or the checker did not do its work.
    """
    shutil.copy(FOLDER / f"{run.model}.pml", folder / "model.pml")
    define = [] if run.defect is None else [f"-D{run.defect}"]
    _call(["spin", *define, "-a", "model.pml"], folder)
    # A seeded defect is found in no time: compiling well would take longer than searching.
    optimise = "-O2" if run.defect is None else "-O0"
    _call(["gcc", optimise, "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=6000", "-w", "-o", "pan", "pan.c"], folder)
    told = _call(["./pan", "-E", f"-m{run.depth}"], folder)
    states = _STATES.search(told)
    if states is None:
        raise RuntimeError(f"The checker ended without a result:\n{told}")
    violated = _VIOLATED.search(told)
    whole = "Search not completed" not in told and "max search depth too small" not in told
    return Result(violated and violated[1], int(states[1]), whole)


def verdict(run: Run, result: Result) -> str | None:
    """What is wrong with a result; None when it is as it must be."""
    if run.defect is None:
        if result.violated is not None:
            return f"violated: {result.violated}"
        return None if result.whole else "the search was not whole"
    if result.violated is None:
        return "the seeded defect was not caught"
    return None if run.breaks in result.violated else f"another property caught it: {result.violated}"


def _call(arguments: list[str], folder: Path) -> str:
    completed = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
    )
    told = completed.stdout + completed.stderr
    if completed.returncode != 0:
        raise RuntimeError(f"{arguments[0]} ended with {completed.returncode}:\n{told}")
    return told
