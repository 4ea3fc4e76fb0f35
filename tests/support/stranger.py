"""What somebody does who has a training run of two sizes and a question of their own: by documented
commands only, in a new folder. `TRAINING` is their script; it knows nothing of circuitwatch.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

TRAINING = '''
"""Train two sizes on sentences about cooks, with checkpoints as a Trainer writes them."""
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

HERS = "Mary Anna Lucy Emma Alice Sarah Julia Clara".split()
HIS = "John Peter Paul James Henry David Frank Simon".split()
NOUNS = "cook singer dancer driver".split()
BATCH, TOKENS = 16, 12
rows = [(f"So {name} is such a good {noun}, isn't", f" {word}", name)
        for names, word in ((HERS, "she"), (HIS, "he")) for name in names for noun in NOUNS]

raw = Tokenizer(models.BPE())
raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
raw.decoder = decoders.ByteLevel()
raw.train_from_iterator([text + word + "?" for text, word, _ in rows] * 4, trainers.BpeTrainer(
    vocab_size=600, special_tokens=["<|endoftext|>"],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<|endoftext|>",
                                    eos_token="<|endoftext|>", pad_token="<|endoftext|>")

for name, width in (("tiny", 32), ("small", 48)):
    torch.manual_seed(0)
    chosen = random.Random(0)
    model = GPTNeoXForCausalLM(GPTNeoXConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=4 * width,
        num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(121):
        if step in (0, 10, 20, 30, 40, 60, 80, 120):
            folder = Path("runs") / name / f"checkpoint-{step}"
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        texts = ["<|endoftext|>" + text + word for text, word, _ in chosen.sample(rows, BATCH)]
        batch = tokenizer(texts, return_tensors="pt", padding="max_length", max_length=TOKENS,
                          truncation=True).input_ids
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

lines = ["clean,corrupted,answer,wrong"]
for (text, word, name), other in zip(rows, rows[len(rows) // 2:] + rows[:len(rows) // 2]):
    lines.append(f'"{text}","{text.replace(name, other[2])}",{word.strip()},{other[1].strip()}')
Path("mine.csv").write_text("\\n".join(lines) + "\\n")
'''
"""BATCH · TOKENS is how many tokens a step has seen."""
TOKENS_PER_STEP = 16 * 12
LAST_STEP = 120
SUITE = f"""\
about: our models on our corpus
path: ../../runs/{{model}}
tokens_per_step: {TOKENS_PER_STEP}
models: {{tiny: , small: }}
"""
OWN = ("--config-dir", "mine")
TASK = ("task=file", "task.path=mine.csv")
QUICK = (
    *("task.n_prompts=24", "circuit.resamples=0", "n_bootstrap=100", "heads.length=4"),
    *("circuit=eap", "tracking=off", "heads.n_sequences=4", "heads.n_prompts=8", "heads.n_texts=2"),
)
"""Documented options that make it quick."""


@dataclass
class Stranger:
    """Somebody at a terminal.

    Attributes:
        folder: where they are.
        program: how `circuitwatch` is started; python: the interpreter of the same installation.
        environment: of their shell.
        said: what each command printed.
    """

    folder: Path
    program: Sequence[str]
    python: str
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    said: dict[str, str] = field(default_factory=dict)

    def does(self, *arguments: str, timeout: float = 3600) -> str:
        """Run `circuitwatch` with arguments: it must end well, and show no traceback."""
        return self._run([*self.program, *arguments], " ".join(arguments), timeout)

    def trains(self) -> None:
        """Run the training script, and write down the suite and the prompts."""
        (self.folder / "train.py").write_text(TRAINING, encoding="utf-8")
        self._run([self.python, "train.py"], "train.py", 600)
        (self.folder / "mine/suites").mkdir(parents=True)
        (self.folder / "mine/suites/lab.yaml").write_text(SUITE, encoding="utf-8")

    def _run(self, command: Sequence[str], called: str, timeout: float) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=dict(self.environment), timeout=timeout,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        self.said[called] = done.stdout
        assert done.returncode == 0, f"{called}: exit code {done.returncode}\n{done.stdout}"
        assert "Traceback" not in done.stdout, f"{called}\n{done.stdout}"
        return done.stdout


def own_run(stranger: Stranger, *options: str) -> None:
    """Own checkpoints of two sizes, own prompts, a summary: what is documented does it."""
    stranger.trains()
    shown = stranger.does("-m", *OWN, "model=tiny,small", *TASK, "sweep=lab", *options)
    _require_sweeps_end(shown, "lab", ("tiny", "small"))
    assert "2 done" in stranger.does("status", "sweep=lab")
    shown = stranger.does("summarize", "sweep=lab")
    require_summary(stranger.folder / "multirun/lab/summary", shown, ("tiny", "small"))
    rows = pd.read_csv(stranger.folder / "multirun/lab/summary/comparison.csv")
    own_task = rows[rows["task"] == "mine"].set_index("quantity")
    assert list(own_task.index) == ["behaviour/value", "behaviour/effect"]
    emerged = [f"{model} tokens" for model in ("tiny", "small")]
    assert (own_task[emerged] <= LAST_STEP * TOKENS_PER_STEP).any(axis=None), own_task.T


def require_summary(folder: Path, shown: str, models: Sequence[str]) -> None:
    """Require a summary with its report, and an emergence row of each model."""
    assert (
        shown.rstrip().splitlines()[-1]
        == f"report: multirun/{folder.parent.name}/summary/report.html"
    )
    report = (folder / "report.html").read_text(encoding="utf-8")
    emergence = pd.read_csv(folder / "emergence.csv")
    for model in models:
        assert model in report and model in shown
        own = emergence[emergence["model"] == model]
        assert "behaviour/value" in set(own["quantity"]) and own["status"].notna().all()
        assert own["quantity"].str.startswith("roles/").any()


def _require_sweeps_end(shown: str, sweep: str, models: Sequence[str]) -> None:
    """Require the table at the end of a sweep, smallest model first, and the next command."""
    *_, records, then = shown.rstrip().splitlines()
    assert records == f"records: multirun/{sweep}"
    assert then == f"next: circuitwatch summarize sweep={sweep}"
    heads = [line.split() for line in shown.splitlines()]
    assert list(models) in heads, shown


def watches_demo(stranger: Stranger) -> None:
    """The demo as the README has it, and its summary."""
    models = ("nano-200k", "nano-400k")
    shown = stranger.does("--multirun", "experiment=demo")
    _require_sweeps_end(shown, "demo", models)
    assert "8 of 8 cells done" in shown
    shown = stranger.does("summarize", "sweep=demo")
    require_summary(stranger.folder / "multirun/demo/summary", shown, models)
