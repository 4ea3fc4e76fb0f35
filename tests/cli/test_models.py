"""`circuitwatch models`: what it lists and finds, without torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from circuitwatch.checkpoints import hf_olmo
from circuitwatch.checkpoints.analysable import ANALYSABLE
from circuitwatch.checkpoints.architectures import ARCHITECTURES
from circuitwatch.cli import main
from circuitwatch.cli.help import folded
from circuitwatch.cli.models import COLUMNS
from support.imported import imported


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    main(["models", *words])
    return capsys.readouterr().out.splitlines()


def row_of(lines: list[str], model: str) -> dict[str, str]:
    """A model's cells by column."""
    row = next(line for line in lines if line.split()[:1] == [model])
    return dict(zip(COLUMNS, [cell for cell in row.strip().split("  ") if cell], strict=True))


def test_what_the_list_is_of_is_what_can_be_analysed() -> None:
    assert {*ARCHITECTURES, hf_olmo.MODEL_TYPE} == ANALYSABLE


def test_every_suite_is_there_and_columns_stand_below_each_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys)
    for suite in ("nano", "pythia", "olmo2", "datadecide", "bloom", "stanford-gpt2", "llama"):
        assert any(line.startswith(f"{suite}: ") for line in lines), suite
    start = lines[0].index("licence")
    rows = [line for line in lines[1:] if line.startswith("  ")]
    licences = {line[start:].split()[0] for line in rows}
    assert {"apache-2.0", "mit", "bigscience-bloom-rail-1.0", "llama3.2", "–"} <= licences
    assert licences <= {"apache-2.0", "mit", "bigscience-bloom-rail-1.0", "–"} | {
        f"llama{version}" for version in ("2", "3.1", "3.2")
    }
    assert len(lines) < 150  # a family of hundreds has a line


def test_what_is_known_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        name: cell.strip()
        for name, cell in row_of(shown(capsys, "olmo-3"), "Olmo-3-1025-7B").items()
    }
    assert row == {
        "model": "Olmo-3-1025-7B",
        "parameters": "7.3B",
        "not embedding": "6.48B",
        "checkpoints": "1421",
        "tokens a step": "4,194,304",
        "licence": "apache-2.0",
        "architecture": "olmo3",
        "can be analysed": "yes" if "olmo3" in ARCHITECTURES else "not yet",
    }


def test_words_find_models_and_families(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "DATADECIDE", "c4-1b")
    rows = [line for line in lines if line.startswith("  ")]
    assert len(rows) == 1
    assert rows[0].split()[0] == "DataDecide-c4-1B[-large-aux-2|-large-aux-3]"
    assert not any(line.startswith("{corpus}") for line in lines)
    family = shown(capsys, "datadecide")
    assert sum(line.startswith("  DataDecide-{corpus}-") for line in family) == 14
    assert next(line for line in family if line.startswith("{corpus}: ")).count(",") == 24
    assert [line.split()[0] for line in shown(capsys, "seed9", "14m") if line.startswith("  ")] == [
        "pythia-14m[-seed1…9]"
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pythia-77m"], "models pythia-77m: no model is called so; did you mean pythia-70m"),
        (["nothing", "such"], "models nothing such: no model is called so; `circuitwatch models`"),
        (["model=pythia-70m"], "models model=pythia-70m: takes no options"),
        (["-m"], "models --multirun: give words to look for"),
        (["--config-dir", "nowhere"], "--config-dir nowhere: no such folder"),
    ],
)
def test_what_is_not_found_is_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exited:
        main(["models", *arguments])
    printed = capsys.readouterr()
    assert exited.value.code == 2 and printed.out == ""
    assert words in printed.err and printed.err.count("\n") == 1


def test_a_users_own_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites/lab.yaml").write_text(
        "about: ours\npath: ../runs/{model}\ntokens_per_step: 512\narchitecture: gpt_neox\n"
        "models: {tiny: {params_total: 1234}, small: }\n"
    )
    for step in (0, 128):
        (tmp_path / f"runs/tiny/step{step}").mkdir(parents=True)
    (tmp_path / "runs/tiny/logs").mkdir()
    lines = shown(capsys, "--config-dir", str(tmp_path), "lab")
    tiny = [cell.strip() for cell in row_of(lines, "tiny").values()]
    assert tiny[1:5] == ["1.23k", "–", "2", "512"] and tiny[-1] == "yes"
    assert f"no: no such folder, {tmp_path / 'runs/small'}" in "\n".join(lines)


def test_it_needs_neither_torch_nor_pandas() -> None:
    text, modules = imported("models", "pythia")
    assert text.startswith("model ")
    assert not {"torch", "pandas", "transformers", "wandb"} & modules


def test_numbered_variants_are_one_only_where_there_are_more_than_two() -> None:
    assert folded(["a", "a-seed1", "a-seed2", "a-seed3"]) == ["a[-seed1…3]"]
    assert folded(["a", "a-aux-2", "a-aux-3"]) == ["a[-aux-2|-aux-3]"]
