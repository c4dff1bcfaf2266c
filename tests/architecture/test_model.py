"""The models hold, can fail, and stand for code that exists. `make model` runs the large one too."""

import re
from pathlib import Path

import pytest

from tests.model.runs import FOLDER, RUNS, Run, check, verdict

_REPOSITORY = Path(__file__).parents[2]
#: The gate's model as it is takes minutes, and a defect that needs no lock nearly so: `make model` runs those.
_QUICK = [
    run for run in RUNS if run.model != "gate" or run.defect in {"ACTS_BEFORE_INTENT", "FORGETS_LATE_INTENTS"}
]


@pytest.mark.parametrize("run", _QUICK, ids=lambda run: f"{run.model}-{run.defect}")
def test_each_model_holds_and_each_seeded_defect_breaks_the_property_it_is_aimed_at(
    run: Run, tmp_path: Path
) -> None:
    assert verdict(run, check(run, tmp_path)) is None


def test_every_defect_that_a_model_knows_is_run() -> None:
    known = {
        (path.stem, defect)
        for path in FOLDER.glob("*.pml")
        for defect in re.findall(r"#ifn?def (\w+)", path.read_text())
    }
    assert known == {(run.model, run.defect) for run in RUNS if run.defect is not None}


def test_each_step_of_the_models_names_code_that_exists() -> None:
    named = re.findall(r"`((?:vault|audit)/[\w/]+\.py)`: `([\w.]+)`", (FOLDER / "README.md").read_text())
    assert len(named) > 15
    for path, name in named:
        text = (_REPOSITORY / path).read_text()
        *_, last = name.split(".")
        assert re.search(rf"\b(?:def|class) {last}\b", text), f"{path} has no {name}"
