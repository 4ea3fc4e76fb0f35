"""`circuitwatch doctor`: what an installation can do, and which tasks a tokenizer has the words
for, before anything is fetched or trained.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import wandb

from circuitwatch import catalogue
from circuitwatch.cli import installation, main
from circuitwatch.config import TaskConfig
from circuitwatch.errors import UserError
from circuitwatch.nano import training
from circuitwatch.tasks import build_prompts
from circuitwatch.tasks.table import tasks_table
from support.growing import Run, arguments
from support.hub import running_hub
from support.tokenizers import tokenizer_named


@pytest.fixture
def run(trained_suite: Path, tmp_path: Path) -> Run:
    return Run(trained_suite, tmp_path / "run")


@pytest.fixture(autouse=True)
def no_accounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No key and no token of this machine, and W&B is not asked for one."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    yield
    wandb.teardown()  # which keeps the mode for the tests after these


def said_of(lines: list[installation.Line]) -> dict[str, str]:
    return {what.strip(): said.strip() for what, said in lines}


def test_an_installation_in_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    import transformers

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIRCUITWATCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    main(["doctor"])
    text = capsys.readouterr().out
    said = said_of(list(installation.lines()))
    for what, there_is in said.items():
        assert what in text and (there_is in text or "GiB free" in there_is)
    assert f"torch {torch.__version__.split('+')[0]}" in said["libraries"]
    assert f"transformers {transformers.__version__}" in said["libraries"]
    assert "missing" not in said["libraries"]
    assert said["device"].startswith(("cpu", "cuda", "mps"))
    assert said["disk, cache"].endswith(f"at {tmp_path / 'cache'}")
    assert said["hub"].startswith("offline (HF_HUB_OFFLINE)")
    assert said["W&B"].startswith("no account here, or W&B is set offline")
    assert said["hub token"].startswith("HF_TOKEN is not set")
    assert not list(tmp_path.iterdir())  # nothing is made to say so


def test_secrets_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_mine")
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr(
        huggingface_hub.constants, "ENDPOINT", f"http://me:password@127.0.0.1:{port}"
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    main(["doctor"])
    printed = capsys.readouterr()
    for secret in ("hf_secret", "ffff", "password", "me:"):
        assert secret not in printed.out + printed.err
    assert "HF_TOKEN is set" in printed.out
    assert f"http://127.0.0.1:{port} can't be reached (" in printed.out


def test_a_hub_that_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with running_hub(tmp_path) as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        assert said_of(list(installation.lines()))["hub"] == f"{hub.url} can be reached"


def test_launchers_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        installation, "_version", lambda name: "missing" if name in ("ray", "joblib") else "1.0"
    )
    said = said_of(list(installation.lines()))
    assert said["hydra/launcher=ray"] == ("ray is not installed: pip install 'circuitwatch[ray]'")
    assert said["hydra/launcher=joblib"].endswith("pip install 'circuitwatch[joblib]'")
    assert said["hydra/launcher=submitit_slurm"] == "submitit 1.0"


@pytest.mark.parametrize("name", ["nano", "digits", "bpe", "words"])
def test_what_the_table_says_of_a_task_is_what_becomes_of_its_prompts(name: str) -> None:
    tokenizer = tokenizer_named(name)
    tasks = [TaskConfig(name=task, n_prompts=8) for task in catalogue.tasks()]
    table = tasks_table(tasks, tokenizer, seed=0, called="mine")
    rows = list(
        zip(*([str(cell) for cell in column.cells] for column in table.columns), strict=True)
    )
    assert [row[0] for row in rows] == list(catalogue.tasks())
    for task, usable, words, variant, longest in rows:
        if usable == "no":
            with pytest.raises(UserError, match=f"{re.escape(words)}$"):
                build_prompts(task, tokenizer, n_prompts=8, seed=0)
            assert words and (variant, longest) == ("", "")
            continue
        prompts = build_prompts(task, tokenizer, n_prompts=8, seed=0)
        assert usable == "yes" and variant == prompts.variant
        assert longest == f"{max(prompts.lengths.tolist())} tokens"
        assert all(f"{n} {kind}" in words for kind, n in prompts.lexicon_counts.items())
    assert {row[1] for row in rows} == ({"yes"} if name == "words" else {"yes", "no"})
    variants = {row[0]: row[3] for row in rows}
    assert (variants["greater_than"] == "tens") == (name == "digits")


def test_a_folder_has_a_table_with_the_users_own_tasks(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write(0, 128)
    (tmp_path / "mine/tasks").mkdir(parents=True)
    (tmp_path / "mine/tasks/nurses.yaml").write_text(
        (Path(build_prompts.__code__.co_filename).parent / "gender_bias.yaml").read_text()
    )
    more = ["--config-dir", str(tmp_path / "mine")]
    main(["doctor", *more, *arguments(run.folder, tmp_path / "out")])
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert "tasks with the tokenizer of tiny" in printed
    assert "yes" in rows["gendered_pronoun"] and "16 female names" in rows["gendered_pronoun"]
    assert "no " in rows["arithmetic"] and "only 8 of 90 two-digit numbers" in rows["arithmetic"]
    assert "does not know every word" in rows["nurses"]
    assert printed.index("tasks with") < printed.index("can be analysed: GPTNeoX")
    assert not (tmp_path / "out").exists()


def test_a_model_that_cant_be_analysed_ends_before_anything_is_hashed(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write(0)
    path = run.at(0) / "config.json"
    content = json.loads(path.read_text())
    path.write_text(
        json.dumps(content | {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"]})
    )
    with pytest.raises(SystemExit) as exited:
        main(["doctor", *arguments(run.folder, tmp_path / "out")])
    printed = capsys.readouterr()
    assert exited.value.code == 2 and printed.out == ""
    assert printed.err.count("circuitwatch: error") == 1 and "mixtral" in printed.err


def test_a_nano_model_is_not_trained_to_be_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever trains fails the test."""
    monkeypatch.setattr(training, "_train", lambda *_: pytest.fail("trained"))
    monkeypatch.chdir(tmp_path)
    main(["doctor", "model=nano-100k", "seed=3", f"cache={tmp_path / 'cache'}"])
    printed = capsys.readouterr().out
    assert "tasks with the tokenizer of nano-100k" in printed
    assert "nano-100k is not trained yet" in printed
    assert "circuitwatch train model=nano-100k seed=3" in printed
    assert not list(tmp_path.iterdir())
