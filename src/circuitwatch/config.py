"""The configuration: every option with its meaning, its unit and what it may be. The YAML groups in
conf/ fill these classes.

Hydra checks types and refuses keys that are not here; `validate` checks the values, before anything
is loaded or written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from circuitwatch import catalogue
from circuitwatch.checkpoints.schedule import parse_bound
from circuitwatch.checkpoints.suites import Suite, require_naming
from circuitwatch.errors import UserError
from circuitwatch.tasks import OWN_TASK, task_of
from circuitwatch.units import parse_size

SOURCES = ("nano", "folder", "hub")
KEEPS = ("none", "last", "all")
DUPLICATES = ("skip", "flag", "error")
SCHEDULES = ("all", "log", "sparse", "steps", "every")
METHODS = ("eap-ig", "eap", "exact")
QUADRATURES = ("right", "left", "midpoint")
IG_MAX_STEPS = (3, 9, 27, 81)
CRITERIA = ("recovery", "faithfulness")
SEARCHES = ("coarse_to_fine", "exhaustive")
CURVES = ("all", "circuit")
PATCHES = ("together", "each")
D_INPUTS = ("keys_and_values", "values")
CORRUPTIONS = ("swap", "abc")
MODES = ("auto", "online", "offline", "off")
DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("float32", "float64")
BOUNDS = {"schedule.from": "schedule.start", "schedule.to": "schedule.stop"}
"""What people write → the field, since `from` can be no name in Python."""


@dataclass
class ModelConfig:
    """Where the checkpoints come from."""

    name: str = MISSING
    """What the model is called in folders, tables and figures."""
    source: str = "nano"
    """`nano`: trained here, kept in the cache.

    `folder`: a directory of Hugging Face checkpoints. `hub`: revisions of a repository.
    """
    path: str | None = None
    """For `folder`: the directory that holds step128/ or checkpoint-128/ folders."""
    tokens_per_step: int | None = None
    """Training tokens of one optimiser step; `folder` reads it from suite.json if that is there,
    `hub` from the revisions' names if they hold {tokens}.
    """
    hub_id: str | None = None
    """For `hub`: the repository, org/name."""
    revisions: str | None = None
    """For `hub`: what revisions are called; {step} and {tokens} stand for numbers, * for anything.
    """
    steps: list[int] | None = None
    """For `hub`: steps that were published; null: those that the repository has."""
    params_total: int | None = None
    """For `hub`: parameters as the registry says, shown by doctor; records count them from the
    model's own configuration.
    """
    params_non_embedding: int | None = None
    """For `hub`: the same without embeddings and unembedding."""


@dataclass
class TaskConfig:
    """The behaviour that is watched."""

    name: str = MISSING
    """One of the catalogue's, or what a task of your own is called: the file's name, if you don't
    say.
    """
    path: str | None = None
    """For `file`: your own prompts (CSV, TSV, JSON lines or Parquet with clean, corrupted, answer,
    wrong; EAP-IG's and MIB's files), or a template (YAML).
    """
    metric: str | None = None
    """For `file`: logit_diff (null), prob_diff, or log_prob, which needs no wrong answers."""
    min_prompts: int = 8
    """For `file`: the fewest rows that must be usable with the model's tokenizer."""
    space: bool = True
    """For `file`: write a space between a prompt and its answer, unless the prompt ends in one."""
    counterfactual: str | None = None
    """For MIB's records: which counterfactual is the corrupted prompt; null: the one that MIB's own
    code takes.
    """
    sha256: str | None = None
    """For `file`: SHA-256 of the file, recorded; if given, another content is refused."""
    n_prompts: int = 64
    """Pairs of prompts, at least 2."""
    prepend_bos: bool = True
    """Begin every prompt with the tokenizer's beginning-of-text token."""
    corruption: str = "swap"
    """ioi only: `swap` repeats the other name, `abc` puts three other names."""


@dataclass
class ScheduleConfig:
    """Which of the model's checkpoints are watched; the first and the last are always among
    them.
    """

    kind: str = "all"
    """all; log: those nearest to steps that double; sparse: about 12 of them, evenly in log steps;
    steps: the ones listed; every: each n-th.
    """
    steps: list[int] | None = None
    """For `steps`: optimiser steps."""
    every: int | None = None
    """For `every`: n."""
    start: str | None = None
    """Written schedule.from=: leave out what is before, in steps (1000) or tokens (2.1B,
    2e9tokens).
    """
    stop: str | None = None
    """Written schedule.to=: leave out what is after."""


@dataclass
class CheckpointsConfig:
    """How checkpoints of a hub are fetched and kept, and what is done about wrong ones."""

    disk: str = "20GiB"
    """Never more than this on disk, for all runs on this machine that share the folder."""
    keep: str = "none"
    """What stays after use: none; last: the schedule's last one; all: as many as `disk` holds, for
    the next task to find.
    """
    folder: str | None = None
    """Where fetched checkpoints lie; null: circuitwatch/ below HF_HOME.

    What is in the hub's own cache already is read from there.
    """
    duplicates: str = "flag"
    """Checkpoints with the same weights as another: skip, flag in records and figures, or error."""


@dataclass
class CircuitConfig:
    """How edges are scored and the smallest circuit is found."""

    method: str = "eap-ig"
    """eap-ig; eap: one step at the clean input; exact: patch every edge in turn, for small models.
    """
    ig_steps: Any = "auto"
    """Steps of integrated gradients, for eap-ig; auto: 3, then 9, 27, 81, until the scores have
    converged.
    """
    ig_max_steps: int = 27
    """For auto: 3, 9, 27 or 81 steps at most; scores that have not converged by then are flagged.
    """
    ig_tolerance: float = 0.03
    """For auto: error of the scores that is enough, as a share of their sum, estimated from the
    last two numbers of steps.
    """
    quadrature: str = "midpoint"
    """Where the steps lie: midpoint (closest to the integral; auto needs it), right (the published
    formula), left (EAP-IG's code).
    """
    threshold: float = 0.8
    """Share of the model's behaviour that a circuit must reach, in (0, 1]."""
    criterion: str = "recovery"
    """Which share: recovery (the paper) counts the behaviour from 0, faithfulness (MIB) from the
    corrupted behaviour.
    """
    search: str = "coarse_to_fine"
    """coarse_to_fine, or exhaustive: evaluate every size."""
    resamples: int = 2
    """Bootstrap resamples of the prompts, the same at all checkpoints, whose circuits' overlap is
    the noise ceiling; each costs another search. 0: none.
    """
    batch_size: int | None = None
    """Prompts at a time; null: as many as the memory allows, up to 64.

    Scores depend on it by rounding only.
    """
    memory: str | None = None
    """Memory that the analysis may take beside the model, e.g. 4GiB; null: half of what is free."""


def role_thresholds() -> dict[str, float]:
    """Role → the score from which it is held, as its file has it."""
    return {name: role.threshold for name, role in catalogue.roles().items()}


@dataclass
class HeadsConfig:
    """What head roles are measured on, and from when a head holds one."""

    length: int = 12
    """Tokens of the random segment that is repeated, at least 3."""
    n_sequences: int = 16
    """Repeated segments."""
    n_prompts: int = 64
    """IOI prompts for the name-mover scores, whatever task is watched."""
    text: str | None = None
    """Plain text that copy suppression, attention sinks, the loss and in-context learning are
    measured on; null: English prose that comes with
    circuitwatch (some 2,800 tokens), for nano models sentences of their corpus' kind that none was
    trained on."""
    n_texts: int = 16
    """Pieces of that text: half for the mean that ablates a head, half to measure the effect on; at
    least 2.
    """
    text_length: int = 32
    """Tokens of a piece, at least 8."""
    loss_length: int = 128
    """Tokens of a piece that the loss and in-context learning are measured on, at least 20; models
    with a shorter context get shorter pieces. Of the text as many are taken as it has, up to
    heads.n_texts.
    """
    n_destinations: int = 48
    """Positions of the text at which the effect on the output distribution is measured."""
    semantic_set: int = 5
    """Tokens that count as the attended one in copy suppression: itself and those with the nearest
    unembeddings.
    """
    predicted_share: float = 0.05
    """Share of the attended tokens, those predicted most, whose suppression copy suppression keeps
    (McDougall et al., 2310.04625), in (0, 1].
    """
    min_effect: float = 0.02
    """Share of the behaviour that patching a head must take or give for its role to count as
    confirmed.
    """
    curves: str = "all"
    """Heads that a role's curve is the maximum over: all; or those in the checkpoint's circuit,
    name movers with an edge to the logits (as in the code of Tigges et al., 2407.10827): without a
    circuit there is no value then. Of several tasks' cells the summary reads a role's curve from
    one in which the role can be confirmed."""
    patch: str = "together"
    """How C and D of IOI patch heads: `together`, several as one, or `each` by itself, and sizes of
    effects are added (as Tigges et al., 2407.10827, do).
    """
    d_inputs: str = "keys_and_values"
    """What D of IOI is about: the S-inhibition heads' keys_and_values, or their values alone (as
    the code of Tigges et al.).
    """
    thresholds: dict[str, float] = field(default_factory=role_thresholds)
    """Scores from which a head (or MLP) holds a role, in (0, 1], and where each number comes
    from:"""

    def threshold(self, role: str) -> float:
        """The score from which a role is held: as given, else as its file has it.

        Raises KeyError for a role that is in neither.
        """
        given = self.thresholds.get(role)
        return catalogue.roles()[role].threshold if given is None else float(given)


@dataclass
class TrackingConfig:
    """Weights & Biases."""

    mode: str = "auto"
    """auto: online if an account is set up here, else offline; online; offline; off."""
    project: str = "circuitwatch"
    """W&B project."""
    entity: str | None = None
    """W&B user or team; your default if null."""


@dataclass
class Config:
    """One cell of a sweep."""

    model: ModelConfig = field(default_factory=ModelConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    checkpoints: CheckpointsConfig = field(default_factory=CheckpointsConfig)
    circuit: CircuitConfig = field(default_factory=CircuitConfig)
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    experiment: str | None = None
    """Name of the experiment preset in use, for the record."""
    sweep: str = "default"
    """Name of the sweep: its folder below `out`, and the group of its runs."""
    out: str = "multirun"
    """Folder that sweeps are written to."""
    cache: str = "~/.cache/circuitwatch"
    """Folder that trained nano models are kept in."""
    seed: int = 0
    """Seed of the prompts, the bootstrap, and a nano model's weights and data."""
    n_bootstrap: int = 1000
    """Resamples of a bootstrap interval."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    dtype: str = "float32"
    """Precision of the analysis, whatever the weights on disk have: float32 or float64.

    In less, weak edges are noise.
    """
    threads: int | None = 1
    """CPU threads; null for all. Records are equal bit for bit only at the same number."""


def register(suites: Iterable[Suite] = (), templates: Mapping[str, Path] | None = None) -> None:
    """Tell Hydra about the schema, every task of the catalogue, the user's templates (name → file)
    and every model of the suites.
    """
    OmegaConf.register_new_resolver("by_task", by_task, replace=True)
    OmegaConf.register_new_resolver("stem", lambda path: Path(path or OWN_TASK).stem, replace=True)
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for task in catalogue.tasks():
        store.store(group="task", name=task, node={"name": task})
    for task, path in (templates or {}).items():
        if task in (*catalogue.tasks(), OWN_TASK):
            raise UserError(f"{path}: {task} is a task already; give the file another name")
        store.store(group="task", name=task, node={"name": task, "path": str(path)})
    store.store(group="task", name=OWN_TASK, node={"name": "${stem:${task.path}}"})
    for suite in suites:
        for name, model in suite.models.items():
            store.store(group="model", name=name, node=model)


def by_task(task: str, choices: dict[str, Any]) -> Any:
    """What a preset gives a task: `${by_task:${task.name},{ioi: 70, …}}` in YAML.

    Raises UserError for another task.
    """
    if task not in choices:
        known = ", ".join(choices)
        raise UserError(
            f"task={task}: this preset is for {known}; say the number yourself, e.g. "
            f"task.n_prompts=64"
        )
    return choices[task]


def validate(config: Any) -> Config:
    """The configuration as an object, its values checked.

    Raises UserError naming the key, the value and what would be right.
    """
    unknown = sorted(set(config) - {f.name for f in fields(Config)})
    if unknown:
        raise UserError(f"{unknown[0]}: no such option; circuitwatch --help lists them")
    config = OmegaConf.to_object(config)
    assert isinstance(config, Config)
    choices: dict[str, tuple[str, ...]] = {
        "model.source": SOURCES,
        "schedule.kind": SCHEDULES,
        "circuit.method": METHODS,
        "circuit.quadrature": QUADRATURES,
        "circuit.criterion": CRITERIA,
        "circuit.search": SEARCHES,
        "heads.curves": CURVES,
        "heads.patch": PATCHES,
        "heads.d_inputs": D_INPUTS,
        "task.corruption": CORRUPTIONS,
        "tracking.mode": MODES,
        "device": DEVICES,
        "dtype": DTYPES,
        "checkpoints.keep": KEEPS,
        "checkpoints.duplicates": DUPLICATES,
    }
    for key, allowed in choices.items():
        if _get(config, key) not in allowed:
            raise UserError(f"{key}={_get(config, key)}: choose one of {', '.join(allowed)}")
    least = {
        "task.n_prompts": 2,
        "task.min_prompts": 2,
        "circuit.batch_size": 1,
        "heads.length": 3,
        "heads.n_sequences": 1,
        "heads.n_prompts": 1,
        "heads.n_texts": 2,
        "heads.text_length": 8,
        "heads.loss_length": 20,
        "heads.n_destinations": 1,
        "heads.semantic_set": 1,
        "n_bootstrap": 10,
        "seed": 0,
        "threads": 1,
        "schedule.every": 1,
        "model.tokens_per_step": 1,
    }
    for key, smallest in least.items():
        value = _get(config, key)
        if value is not None and value < smallest:
            raise UserError(f"{key}={value}: must be at least {smallest}")
    _require_steps(config.circuit)
    if config.circuit.resamples == 1 or config.circuit.resamples < 0:
        raise UserError(
            f"circuit.resamples={config.circuit.resamples}: must be 0 for no noise ceiling, "
            f"or at least 2 to compare"
        )
    if config.circuit.memory is not None:
        parse_size(config.circuit.memory, "circuit.memory")
    parse_size(config.checkpoints.disk, "checkpoints.disk")
    for written, name in BOUNDS.items():
        if (bound := _get(config, name)) is not None:
            parse_bound(bound, written)
    for role in config.heads.thresholds:
        if role not in catalogue.roles():
            known = ", ".join(catalogue.roles())
            raise UserError(f"heads.thresholds.{role}: no such role; choose one of {known}")
    keys = ("circuit.threshold", "heads.predicted_share", "heads.min_effect")
    shares = {key: _get(config, key) for key in keys}
    shares |= {f"heads.thresholds.{role}": x for role, x in config.heads.thresholds.items()}
    for key, share in shares.items():
        if not 0 < share <= 1:
            raise UserError(f"{key}={share}: must be above 0 and at most 1, e.g. 0.8")
    if config.task.name == OWN_TASK and not config.task.path:
        raise UserError(
            "task.path is missing: task=file needs task.path=<file of prompts, or a template>"
        )
    for key in ("model.name", "task.name", "sweep"):
        name = _get(config, key)
        if not name or name in (".", "..") or "/" in name:
            raise UserError(f"{key}={name!r}: must be a plain name, it becomes a folder")
    require_share(config)
    if config.model.source == "folder" and not config.model.path:
        raise UserError(
            "model.path is missing: model=folder needs model.path=<directory of checkpoints>"
        )
    if config.model.source == "hub":
        model = config.model
        if not model.hub_id or not model.revisions:
            raise UserError(
                "model.hub_id is missing: model=hub needs model.hub_id=<org/name> and "
                "model.revisions=<pattern>"
            )
        require_naming(f"model={model.name}", model.revisions, model.steps, model.tokens_per_step)
    for kind, example in (("steps", "[0,128,1000]"), ("every", "4")):
        given = getattr(config.schedule, kind) is not None
        if config.schedule.kind == kind and not given:
            raise UserError(
                f"schedule.{kind} is missing: schedule={kind} needs it, e.g. "
                f"schedule.{kind}={example}"
            )
        if given and config.schedule.kind != kind:
            raise UserError(
                f"schedule.{kind} does nothing with schedule={config.schedule.kind}; add "
                f"schedule={kind}"
            )
    return config


def require_share(config: Config) -> None:
    """Raise UserError where the criterion of a circuit has no meaning for the task's metric, or
    there is no such task.
    """
    metric = task_of(config.task).metric
    if metric == "log_prob" and config.circuit.criterion == "recovery":
        raise UserError(
            "circuit.criterion=recovery: the metric log_prob is below 0 whatever the model does, "
            "so that a share of it means nothing; take circuit.criterion=faithfulness"
        )


def _require_steps(circuit: CircuitConfig) -> None:
    """Raise UserError unless the steps of integrated gradients can be taken."""
    steps, most, tolerance = circuit.ig_steps, circuit.ig_max_steps, circuit.ig_tolerance
    if steps != "auto" and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1):
        raise UserError(f"circuit.ig_steps={steps}: must be auto, or a whole number of at least 1")
    if most not in IG_MAX_STEPS:
        raise UserError(
            f"circuit.ig_max_steps={most}: choose one of {', '.join(map(str, IG_MAX_STEPS))}"
        )
    if not 0 < tolerance <= 1:
        raise UserError(
            f"circuit.ig_tolerance={tolerance}: must be above 0 and at most 1, e.g. 0.03"
        )
    if circuit.method == "eap-ig" and steps == "auto" and circuit.quadrature != "midpoint":
        raise UserError(
            f"circuit.quadrature={circuit.quadrature}: circuit.ig_steps=auto takes midpoint "
            f"steps, since only those of 3, 9, 27 nest; "
            "give a number, e.g. circuit.ig_steps=30"
        )


def cell_folder(config: Config) -> Path:
    """Where a cell's records are."""
    return (
        Path(config.out).expanduser()
        / config.sweep
        / config.model.name
        / config.task.name
        / f"seed{config.seed}"
    )


def _get(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value
