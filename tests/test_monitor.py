"""A cell from beginning to end, on a small trained model: what the records say, and that a kill
changes nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr

from circuitwatch.analysis import NOT_ABOVE_CHANCE, Subject, analyse_checkpoint
from circuitwatch.behaviour import metric_per_prompt
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.checkpoints.unusable import DamagedWeights
from circuitwatch.circuits.attribution import edge_scores, graph_of
from circuitwatch.circuits.evaluation import CircuitEvaluator, exact_edge_scores
from circuitwatch.circuits.exchange import read
from circuitwatch.circuits.overlap import MEASURES, jaccard
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.cli import main
from circuitwatch.config import (
    CircuitConfig,
    Config,
    HeadsConfig,
    ModelConfig,
    ScheduleConfig,
    TaskConfig,
    TrackingConfig,
)
from circuitwatch.errors import UserError
from circuitwatch.heads.roles import role_probes
from circuitwatch.monitor import prompts_of, watch_cell
from circuitwatch.record_files import TIMING, CheckpointRecord
from circuitwatch.records import Cell
from circuitwatch.summary.statistics.stability import set_stability
from circuitwatch.tasks import build_prompts

TASK = "gendered_pronoun"


def configuration(suite: Path, **parts: object) -> Config:
    return Config(
        model=ModelConfig(name="tiny", source="folder", path=str(suite)),
        task=TaskConfig(name=TASK, n_prompts=24),
        heads=HeadsConfig(length=6, n_sequences=4, n_prompts=8),
        tracking=TrackingConfig(mode="off"),
        device="cpu",
        **parts,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def cell(trained_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return watch_cell(configuration(trained_suite), tmp_path_factory.mktemp("cell"))


def test_every_checkpoint_has_its_record(cell: Cell, trained_suite: Path) -> None:
    steps = sorted(int(path.name.removeprefix("step")) for path in trained_suite.glob("step*"))
    assert cell.is_done() and cell.steps_done() == steps == [
        c["step"] for c in cell.header["schedule"]
    ]
    assert cell.header["model"]["params_total"] > cell.header["model"]["params_non_embedding"] > 0
    for record in cell.records():
        assert record.tokens == record.step * 48 * 21
        low, value, high = (
            record.scalars[f"behaviour/{name}"] for name in ("low", "value", "high")
        )
        assert low <= value <= high
        assert len(record.prompts) == 24 and record.prompts["value"].mean() == pytest.approx(value)
        of_heads = record.roles[record.roles["head"] >= 0]
        scores = of_heads.pivot_table(index=["layer", "head"], columns="role", values="score")
        assert set(scores) >= {
            "induction",
            "previous_token",
            "duplicate_token",
            "successor",
            "name_mover",
        }
        assert (
            scores.shape[0] == 4 and scores.to_numpy().min() >= 0 and scores.to_numpy().max() <= 1
        )


def test_what_is_measured_of_the_model_is_recorded(cell: Cell) -> None:
    """Whatever the behaviour: loss and in-context learning with their intervals, attention sinks.
    (On text of all families the loss of a model that has seen two of them does not fall.)
    """
    first, last = cell.read(0).scalars, cell.read(300).scalars
    assert first["circuit/status"] == NOT_ABOVE_CHANCE
    for scalars in (first, last):
        for key in ("text/loss", "text/in_context_learning"):
            assert scalars[f"{key}_low"] <= scalars[key] <= scalars[f"{key}_high"]
        assert 0 <= scalars["roles/attention_sink/max"] <= 1
    vocabulary = len(load_tokenizer(Path(cell.header["config"]["model"]["path"]) / "step300"))
    assert first["text/loss"] == pytest.approx(np.log(vocabulary), rel=0.1)
    assert last["text/loss"] != first["text/loss"]
    assert cell.header["facts"]["quantities"]["text/loss"]["unit"] == "nats"


def test_nothing_is_searched_before_there_is_behaviour(cell: Cell) -> None:
    first, last = cell.read(0), cell.read(cell.steps_done()[-1])
    assert (
        first.scalars["circuit/status"] == NOT_ABOVE_CHANCE
        and first.scores is None
        and first.curve is None
    )
    assert not any(name.startswith("overlap") for name in first.scalars)
    assert last.scalars["circuit/status"] == "found"
    assert first.bands is None and last.bands is None  # shares are known of IOI alone


def test_what_no_role_explains_is_recorded(cell: Cell) -> None:
    last = cell.read(cell.steps_done()[-1])
    assert (
        0 <= last.scalars["algorithm/unexplained_low"] <= last.scalars["algorithm/unexplained"] <= 1
    )
    assert last.patching is not None and set(last.patching["receivers"]) <= {
        "logits",
        "induction keys",
    }
    # Of this task no role is confirmed or refuted; previous-token heads have a task of their own.
    elsewhere = last.roles[last.roles["role"] != "previous_token"]
    assert elsewhere["confirmed"].isna().all() and elsewhere["sign"].isna().all()


def test_the_recorded_circuit_does_what_the_record_says(cell: Cell, trained_suite: Path) -> None:
    """The circuit is evaluated again from the weights, and the chain of overlaps is computed again
    from the masks.
    """
    record = cell.read(cell.steps_done()[-1])
    assert record.mask is not None and record.scores is not None
    folder = trained_suite / record.revision
    model, prompts = (
        load_model(folder),
        build_prompts(TASK, load_tokenizer(folder), n_prompts=24, seed=0),
    )
    evaluate = CircuitEvaluator(
        Prepared(model, prompts),
        lambda logits, indices: metric_per_prompt(logits, prompts, indices),
    )
    corrupted = record.scalars["behaviour/corrupted"]
    share = (evaluate(record.mask) - corrupted) / (record.scalars["behaviour/value"] - corrupted)
    assert share == pytest.approx(record.scalars["circuit/faithfulness"], abs=1e-4)
    assert record.scalars["circuit/out_of_range"] == (not -0.2 <= share <= 1.2)
    recovered = evaluate(record.mask) / record.scalars["behaviour/value"]
    assert (
        recovered == pytest.approx(record.scalars["circuit/recovery"], abs=1e-4)
        and recovered >= 0.8 - 1e-4
    )
    assert (
        record.scalars["circuit/score_steps"] == 9
        and record.scalars["circuit/score_converged"] is True
    )
    assert 0 < record.scalars["circuit/score_error"] <= 0.03
    assert record.mask.sum() == record.scalars["circuit/edges"]
    masks = [r.mask for r in cell.records() if r.mask is not None]
    overlaps = [r.scalars.get("overlap/edge_jaccard") for r in cell.records() if r.mask is not None]
    assert overlaps == [None, *(jaccard(a, b) for a, b in pairwise(masks))]


def test_the_noise_ceiling_is_recorded_and_can_be_left_out(
    cell: Cell, trained_suite: Path, tmp_path: Path
) -> None:
    """A ceiling needs no earlier circuit; without resamples and earlier circuits all else is the
    same.
    """
    record = cell.read(300)
    assert record.mask is not None
    first, second = (np.zeros(record.mask.size, dtype=bool) for _ in "AB")
    for own, kept in zip((first, second), record.resamples, strict=True):
        assert kept is not None and np.isfinite(kept.scores).all() and len(kept.places)
        own[kept.places] = True
    assert record.scalars["overlap/edge_jaccard_ceiling"] == jaccard(first, second)
    one = configuration(
        trained_suite,
        circuit=CircuitConfig(resamples=0),
        schedule=ScheduleConfig(kind="steps", steps=[300]),
    )
    without = watch_cell(one, tmp_path).read(300)
    assert without.resamples == ()
    assert without.scalars == {
        name: v for name, v in record.scalars.items() if not name.startswith("overlap/")
    }


def test_the_same_weights_are_exactly_at_the_noise_ceiling(trained_suite: Path) -> None:
    """One checkpoint looked at twice, as two steps: the prompts of resamples are the same at both,
    so A's circuit shares with B's across them what it shares within each, to the last bit, and
    stability is 1."""
    folder, config = trained_suite / "step300", configuration(trained_suite)
    tokenizer = load_tokenizer(folder)
    subject = Subject(
        prompts_of(config, tokenizer), role_probes(tokenizer, config.heads, seed=0), config
    )
    records: list[CheckpointRecord | None] = [None]
    for step in (300, 400):
        checkpoint = Checkpoint(step, 1000 * step, f"step{step}")
        records.append(
            analyse_checkpoint(checkpoint, folder, subject, records[-1], lambda what: None)
        )
    one, other = records[1:]
    assert one is not None and other is not None
    a, b = one.resamples
    assert a is not None and b is not None and not np.array_equal(a.scores, b.scores)
    for before, now in zip((a, b), other.resamples, strict=True):
        assert (
            now is not None
            and (before.places == now.places).all()
            and (before.scores == now.scores).all()
        )
    for measure in MEASURES:
        name = f"overlap/{measure}_resampled"
        observed, ceiling, chance = (
            other.scalars[f"{name}{kind}"] for kind in ("", "_ceiling", "_chance")
        )
        assert observed == ceiling == one.scalars[f"overlap/{measure}_ceiling"]
        assert set_stability([observed], [ceiling], [chance]).stability == 1


def test_eap_ig_ranks_edges_like_their_exact_effects(trained_suite: Path) -> None:
    """Spearman correlation over the absolute scores of all edges: 0.94 to 0.98 on trained nano
    models.
    """
    folder = trained_suite / "step300"
    model, prompts = (
        load_model(folder),
        build_prompts(TASK, load_tokenizer(folder), n_prompts=24, seed=0),
    )

    def metric(logits, indices):  # type: ignore[no-untyped-def]
        return metric_per_prompt(logits, prompts, indices)

    prepared = Prepared(model, prompts)
    exact, estimated = exact_edge_scores(prepared, metric), edge_scores(prepared, metric)
    edges = graph_of(model).edges
    correlation = spearmanr(np.abs(exact[edges]), np.abs(estimated[edges])).statistic
    print(f"rank correlation of EAP-IG with exact effects: {correlation:.3f}")
    assert correlation > 0.9


def test_a_finished_cell_is_skipped(
    cell: Cell,
    trained_suite: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "circuitwatch.analysis.load_model",
        lambda *_, **__: pytest.fail("a checkpoint was loaded again"),
    )
    watch_cell(configuration(trained_suite), cell.folder)
    assert "done already" in capsys.readouterr().out


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    cell: Cell, trained_suite: Path, tmp_path: Path
) -> None:
    """SIGKILL as soon as there are a few records, at whatever moment that is; then the same command
    again.
    """
    command = [
        sys.executable,
        "-m",
        "circuitwatch",
        "model=folder",
        "model.name=tiny",
        f"model.path={trained_suite}",
        f"task={TASK}",
        "task.n_prompts=24",
        "heads.length=6",
        "heads.n_sequences=4",
        "heads.n_prompts=8",
        "tracking=off",
        "device=cpu",
        f"out={tmp_path}",
    ]
    folder = tmp_path / "default" / "tiny" / TASK / "seed0"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("checkpoints/*/manifest.json"))) < 4:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = len(list(folder.glob("checkpoints/*/manifest.json")))
    assert 4 <= before < len(cell.steps_done())
    subprocess.run(command, check=True, capture_output=True)
    assert Cell.open(folder).is_done()
    expected = {
        p.relative_to(cell.folder): p.read_bytes() for p in cell.record_files() if p.name != TIMING
    }
    assert {
        p.relative_to(folder): p.read_bytes()
        for p in Cell.open(folder).record_files()
        if p.name != TIMING
    } == expected


def test_exported_circuits_are_the_recorded_ones(
    cell: Cell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["export", f"cell={cell.folder}", f"to={tmp_path / 'json'}"])
    written = sorted((tmp_path / "json").iterdir())
    scored = [record for record in cell.records() if record.scores is not None]
    assert (
        f"{len(scored)} circuits of {len(cell.steps_done())} checkpoints" in capsys.readouterr().out
    )
    assert len(written) == len(scored) > 0
    for record in scored:
        graph, scores, mask = read(tmp_path / "json" / f"step{record.step}.json")
        assert graph.n_edges == cell.header["graph"]["n_edges"]
        assert (scores == record.scores).all() and (
            record.mask is None or (mask == record.mask).all()
        )


def test_a_small_memory_budget_gives_the_same_record(
    cell: Cell, trained_suite: Path, tmp_path: Path
) -> None:
    """1 MB makes batches of a few prompts and keeps nothing between circuits: other rounding, the
    same circuit.
    """
    small = configuration(
        trained_suite,
        circuit=CircuitConfig(memory="1MB"),
        schedule=ScheduleConfig(kind="steps", steps=[300]),
    )
    scalars, expected = watch_cell(small, tmp_path).read(300).scalars, cell.read(300).scalars
    for name in scalars:
        assert scalars[name] == (
            pytest.approx(expected[name], rel=1e-4)
            if isinstance(expected[name], float)
            else expected[name]
        )


def test_a_trainers_folder_is_watched(trained_suite: Path, tmp_path: Path) -> None:
    """checkpoint-<N> with the optimiser's state beside the weights, as Hugging Face's Trainer
    leaves it; two with equal weights, one empty.
    """
    for step in (0, 128, 300):
        shutil.copytree(trained_suite / f"step{step}", tmp_path / "run" / f"checkpoint-{step}")
        (tmp_path / "run" / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
        (tmp_path / "run" / f"checkpoint-{step}" / "optimizer.pt").write_bytes(b"not read")
    shutil.copytree(tmp_path / "run/checkpoint-300", tmp_path / "run/checkpoint-200")
    (tmp_path / "run/checkpoint-250").mkdir()
    config = configuration(tmp_path / "run")
    config.model.tokens_per_step = 1008
    cell = watch_cell(config, tmp_path / "cell")
    assert cell.is_done() and cell.steps_done() == [0, 128, 200, 300]
    assert (
        list(cell.skipped()) == ["250"]
        and "no config.json and weights" in cell.skipped()["250"]["reason"]
    )
    assert cell.read(200).scalars["weights/duplicate_of"] == "checkpoint-300"
    assert "weights/duplicate_of" not in cell.read(300).scalars
    assert cell.read(300).tokens == 300 * 1008


def test_weights_that_are_not_whole_are_skipped_by_name(
    trained_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One checkpoint lacks a tensor, one has ZeRO-3's empty one, one has torch.compile's prefix:
    the first two are skipped, all others are recorded.
    """
    for step in (0, 128, 150, 300):
        shutil.copytree(trained_suite / f"step{step}", tmp_path / "run" / f"step{step}")
    lost = "gpt_neox.final_layer_norm.weight"
    for step in (0, 128, 300):
        file = tmp_path / "run" / f"step{step}" / "model.safetensors"
        tensors = load_file(file)
        if step == 0:
            del tensors[lost]
        elif step == 128:
            tensors[lost] = torch.empty(0)
        else:
            tensors = {f"_orig_mod.{name}": tensor for name, tensor in tensors.items()}
        save_file(tensors, file, metadata={"format": "pt"})
    config = configuration(tmp_path / "run", circuit=CircuitConfig(resamples=0))
    config.model.tokens_per_step = 48 * 21
    cell = watch_cell(config, tmp_path / "cell")
    said = capsys.readouterr()
    assert cell.is_done() and cell.steps_done() == [150, 300]
    skipped = {step: about["reason"] for step, about in cell.skipped().items()}
    assert skipped.keys() == {"0", "128"}
    assert (
        f"{lost} is missing" in skipped["0"]
        and f"{lost} is [0] in the file, [32] in the model" in skipped["128"]
    )
    for step, reason in skipped.items():
        assert "\n" not in reason and f"step {step}: skipped, {reason}" in said.err
    assert "step 300: " in said.err and "_orig_mod. taken off the weights' names" in said.err
    assert "taken off the names of 1 checkpoint's weights: _orig_mod." in " ".join(said.out.split())
    kept = {step: dict(cell.read(step).scalars) for step in (150, 300)}
    assert kept[300].pop("weights/prefix_removed") == "_orig_mod."
    plain = configuration(
        trained_suite,
        circuit=CircuitConfig(resamples=0),
        schedule=ScheduleConfig(kind="steps", steps=[150, 300]),
    )
    expected = watch_cell(plain, tmp_path / "plain")
    for step, scalars in kept.items():
        unprefixed = dict(expected.read(step).scalars)
        assert (scalars.pop("weights/sha256") == unprefixed.pop("weights/sha256")) == (step == 150)
        assert scalars == unprefixed and "weights/prefix_removed" not in unprefixed


def test_nothing_but_damaged_weights(trained_suite: Path, tmp_path: Path) -> None:
    """The cell says so, is not done, and tries again."""
    shutil.copytree(trained_suite / "step300", tmp_path / "run/step300")
    save_file(
        {"a": torch.zeros(1)}, tmp_path / "run/step300/model.safetensors", metadata={"format": "pt"}
    )
    config = configuration(tmp_path / "run")
    config.model.tokens_per_step = 1
    for _ in range(2):
        with pytest.raises(UserError, match="the weights have 0 layers"):
            watch_cell(config, tmp_path / "cell")
    assert not (tmp_path / "cell/done.json").exists()


def test_the_longest_input_of_a_cell_decides_how_many_tokens_are_compared(
    trained_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments, prompts, texts for heads and texts for the loss in turn are the longest."""
    asked = []

    def load(folder: Path, *, check_length: int, **options: object) -> None:
        asked.append(check_length)
        raise DamagedWeights("seen")

    monkeypatch.setattr("circuitwatch.analysis.load_model", load)
    for number, heads in enumerate(
        (
            HeadsConfig(length=20, text_length=8, loss_length=8),
            HeadsConfig(length=2, text_length=8, loss_length=8),
            HeadsConfig(length=2, text_length=30, loss_length=8),
            HeadsConfig(length=2, text_length=8, loss_length=60),
        )
    ):
        config = configuration(trained_suite, schedule=ScheduleConfig(kind="steps", steps=[300]))
        config.heads = replace(heads, n_sequences=2, n_prompts=4)
        with pytest.raises(UserError, match="nothing is recorded: none of the 2 checkpoints can"):
            watch_cell(config, tmp_path / str(number))
    prompts = build_prompts("ioi", load_tokenizer(trained_suite / "step300"), n_prompts=4, seed=0)
    assert list(dict.fromkeys(asked)) == [41, prompts.clean.shape[1], 31, 61]
