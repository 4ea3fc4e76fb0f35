"""Which model and checkpoint results are of: what the file says, before where it lies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from circuitwatch.checkpoints.suites import read_suites
from circuitwatch.cli.choices import conf_dir
from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.importers import harness
from circuitwatch.summary.importers.format import Asked, File
from circuitwatch.summary.importers.formats import files_of
from circuitwatch.summary.importers.rates import as_rates
from circuitwatch.summary.importers.registry import Registry

OWN = Path(__file__).parents[1] / "data" / "harness"
CASES = Path(__file__).parents[3] / "shared" / "cases" / "curves"


def read(folder: Path, *, rate: float | None = 1e6, join: bool = False) -> Curves:
    registry = Registry(read_suites([conf_dir()]))
    files = [File(path) for path in files_of(harness.FORMAT, folder)]
    asked = Asked(registry, tokens_per_step=as_rates(rate, registry), join_stages=join)
    return harness.FORMAT.read(files, folder, asked)


def values(curves: Curves, model: str, task: str = "colours") -> dict[float, float]:
    return curves.curve(model, task, "acc").to_dict()


def test_ablations_in_a_folder_of_their_base_model() -> None:
    curves = read(OWN / "ablations")
    assert set(curves.table["model"]) == {
        "mylab/pythia-1b-1MtokBS",
        "mylab/pythia-160m-0.5MtokBS",
        "mylab/pythia-1b-0.5MtokBS",
    }
    assert values(curves, "mylab/pythia-1b-1MtokBS") == {1e9: 0.21, 2e10: 0.4, 6e10: 0.8}
    assert values(curves, "mylab/pythia-1b-0.5MtokBS")[6e10] == 0.9


def test_an_intervention_beside_its_base_model() -> None:
    curves = read(OWN / "intervention")
    assert set(curves.table["model"]) == {
        "EleutherAI/edited-pythia-70m-deduped",
        *(m for m in set(curves.table["model"]) if m.endswith("pythia-70m-deduped")),
    }
    assert curves.table["model"].nunique() == 2
    assert sorted(curves.table.query("task == 'colours'")["value"]) == [
        pytest.approx(v) for v in (0.2134, 0.2136, 0.3134, 0.3136)
    ]


def test_local_checkpoints_are_one_model() -> None:
    curves = read(OWN / "local")
    assert values(curves, "mine") == {0.0: 0.2, 1e9: 0.205, 1.43e11: 0.915}
    assert not any("ascending" in note for note in curves.notes)


def test_two_labs_models_of_one_name_are_two() -> None:
    curves = read(OWN / "two_labs")
    assert set(curves.table["model"]) == {"north/models/tiny", "south/models/tiny"}
    assert values(curves, "south/models/tiny") == {1e7: 0.7, 2e7: 0.8}


def test_a_run_on_the_first_examples_never_replaces_a_full_one() -> None:
    curves = read(OWN / "limited")
    assert values(curves, "mylab/tiny") == {1e7: 0.5, 2e7: 0.7}
    said = " ".join(curves.notes)
    assert "left out, as there are full ones: quick_step10.json" in said
    assert "first few examples only (limit=): quick_step20.json" in said


def rewritten(folder: Path, to: Path, value: float, extra: str = "") -> None:
    """The full result of step 10 again, with another value."""
    content = json.loads((folder / "full_step10.json").read_text())
    content["results"]["colours"]["acc"] = value
    content["config"]["model_args"] += extra
    to.write_text(json.dumps(content))


def test_two_files_for_the_same(tmp_path: Path) -> None:
    """Equal values count once; different ones are two models where the files say why, and an error
    that names both where they don't.
    """
    (tmp_path / "full_step10.json").write_text((OWN / "limited/full_step10.json").read_text())
    rewritten(OWN / "limited", tmp_path / "again_step10.json", 0.5)
    assert values(read(tmp_path), "mylab/tiny") == {1e7: 0.5}
    rewritten(OWN / "limited", tmp_path / "again_step10.json", 0.8, ",dtype=float16")
    curves = read(tmp_path)
    assert values(curves, "mylab/tiny") == {1e7: 0.5}
    assert values(curves, "mylab/tiny (dtype=float16)") == {1e7: 0.8}
    rewritten(OWN / "limited", tmp_path / "again_step10.json", 0.8)
    with pytest.raises(UserError, match=r"full_step10.json|again_step10.json") as caught:
        read(tmp_path)
    said = str(caught.value)
    assert "full_step10.json" in said and "again_step10.json" in said
    assert "mylab/tiny colours acc at step 10 (0.8 and 0.5): leave one of them out" in said


def test_stages_are_an_error_that_names_the_clash_or_branches() -> None:
    with pytest.raises(UserError, match="several stages of training") as caught:
        read(OWN / "stages")
    said = str(caught.value)
    assert "stage1-step1000-tokens2B.json" in said and "stage2-ingredient1-step1000" in said
    assert "both step 1000" in said and "stages=join" in said
    curves = read(OWN / "stages", rate=None, join=True)
    assert values(curves, "mylab/staged ingredient1") == {2e9: 0.2, 6e9: 0.4, 8e9: 0.6}
    assert values(curves, "mylab/staged ingredient2") == {2e9: 0.2, 6e9: 0.4, 8e9: 0.5}
    steps = curves.table.query("model == 'mylab/staged ingredient1' and task == 'colours'")["step"]
    assert sorted(steps) == [1000, 3000, 4000]


def test_a_later_stage_alone_has_no_beginning(tmp_path: Path) -> None:
    name = "stage2-ingredient1-step1000-tokens2B.json"
    (tmp_path / name).write_text((OWN / "stages" / name).read_text())
    with pytest.raises(UserError, match="add the file of its last checkpoint"):
        read(tmp_path, join=True)


def of(tmp_path: Path, *weights: str) -> Curves:
    """Results of some weights, each with a value of its own."""
    for place, arguments in enumerate(weights):
        content = {
            "results": {"colours": {"acc": 0.1 * (place + 1)}},
            "config": {"model_args": f"pretrained={arguments}"},
        }
        (tmp_path / f"r{place}.json").write_text(json.dumps(content))
    return read(tmp_path)


@pytest.mark.parametrize(
    "weights",
    ["mylab/pythia-160m/checkpoint-10", "mylab/pythia-160m-step10", "/r/pythia-160m/checkpoint-10"],
)
def test_another_labs_model_is_not_the_registrys(tmp_path: Path, weights: str) -> None:
    table = of(tmp_path, weights).table
    assert set(table["model"]) <= {"mylab/pythia-160m", "r/pythia-160m"}
    assert table["params"].isna().all() and set(table["step"]) == {10}
    known = of(tmp_path, "EleutherAI/pythia-160m,revision=step1000").table
    assert set(known["model"]) == {"pythia-160m"} and known["params"].notna().all()


def test_an_adapter_is_another_model_than_its_base(tmp_path: Path) -> None:
    curves = of(tmp_path, "lab/m,revision=step10", "lab/m,revision=step20,peft=lab/x")
    assert values(curves, "lab/m") == {1e7: 0.1}
    assert values(curves, "lab/m + lab/x") == {2e7: 0.2}


def test_seeds_in_the_names_of_weights(tmp_path: Path) -> None:
    """Seed 0 is one; what the registry knows with its seed alone keeps its name."""
    curves = of(
        tmp_path,
        "lab/m-seed0,revision=step10",
        "lab/m-seed1,revision=step10",
        "EleutherAI/pythia-160m-data-seed1,revision=step1000",
    )
    for seed, value in ((0, 0.1), (1, 0.2)):
        assert curves.curve("lab/m", "colours", "acc", seed).tolist() == [pytest.approx(value)]
    assert "pythia-160m-data-seed1" in set(curves.table["model"])


needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")


@needs_cases
def test_the_ablations_of_others() -> None:
    curves = read(CASES / "ablations", rate=1_048_576)
    last = curves.table.query("task == 'lambada_openai 5-shot' and quantity == 'acc'")
    last = last.sort_values("step").groupby("model")["value"].last()
    assert sorted(last.round(4)) == [0.2979, 0.4916, 0.5494] and len(last) == 3


@needs_cases
def test_the_intervention_of_others() -> None:
    table = read(CASES / "intervention").table
    found = table.query("task == 'lambada_openai' and quantity == 'acc' and step == 136000")
    assert sorted(found["value"].round(4)) == [0.175, 0.1896]


@needs_cases
def test_the_local_checkpoints_of_others() -> None:
    table = read(CASES / "local").table
    assert set(table["model"]) == {"mymodel"} and table["step"].nunique() == 6
