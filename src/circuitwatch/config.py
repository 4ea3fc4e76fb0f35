"""The configuration: every option with its meaning, its unit and what it may be. The YAML groups in
conf/ say what differs from the defaults here.

Hydra checks types and refuses keys that are not here; `validate` checks the values, before anything
is loaded or written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from circuitwatch import catalogue
from circuitwatch.checkpoints.settings import (
    CheckpointsConfig,
    ModelConfig,
    ScheduleConfig,
)
from circuitwatch.checkpoints.suites import Suite, require_naming
from circuitwatch.errors import UserError
from circuitwatch.heads.settings import HeadsConfig
from circuitwatch.limits import (
    MOST_IG_STEPS,
    MOST_PROMPTS,
    MOST_RESAMPLES,
    MOST_SEARCHES,
    MOST_SEED,
    MOST_THREADS,
    shown,
)
from circuitwatch.names import plain_name, plain_path
from circuitwatch.options import as_written, check_options, option, options_of
from circuitwatch.shards import Shard
from circuitwatch.tasks import OWN_TASK, task_of
from circuitwatch.tracking.settings import TrackingConfig
from circuitwatch.units import parse_duration, parse_size


@dataclass
class TaskConfig:
    """The behaviour that is watched."""

    name: str = option(
        "Which behaviour is watched, one of those of task=, or what a task of your own is called: "
        "the file's name, if you don't say",
        check=plain_name,
    )
    path: str | None = option(
        "For `file`: your own prompts (CSV, TSV, JSON lines or Parquet with clean, corrupted, "
        "answer, wrong; EAP-IG's and MIB's files), or a template (YAML)",
        None,
        check=plain_path,
    )
    metric: str | None = option(
        "For `file`: null is logit_diff, or what a template says",
        None,
        choices={"logit_diff": "", "prob_diff": "", "log_prob": "needs no wrong answers"},
    )
    min_prompts: int = option(
        "For `file`: the fewest rows that must be usable with the model's tokenizer",
        8,
        least=2,
        most=MOST_PROMPTS,
    )
    space: bool = option(
        "For `file`: write a space between a prompt and its answer, unless the prompt ends in one",
        True,
    )
    counterfactual: str | None = option(
        "For MIB's records: which counterfactual is the corrupted prompt; null: the one that MIB's "
        "own code takes",
        None,
    )
    sha256: str | None = option(
        "For `file`: SHA-256 of the file, recorded; if given, another content is refused", None
    )
    n_prompts: int = option("Pairs of prompts", 64, least=2, most=MOST_PROMPTS)
    prepend_bos: bool = option(
        "Begin every prompt with the tokenizer's beginning-of-text token", True
    )
    corruption: str = option(
        "ioi only",
        "swap",
        choices={"swap": "repeats the other name", "abc": "puts three other names"},
    )


def ig_steps(steps: Any, key: str) -> None:
    """Raise UserError unless integrated gradients can take that many steps."""
    is_whole = isinstance(steps, int) and not isinstance(steps, bool)
    if steps != "auto" and not (is_whole and 1 <= steps <= MOST_IG_STEPS):
        raise UserError(
            f"{key}={shown(steps)}: must be auto, or a whole number of at least 1, at most "
            f"{MOST_IG_STEPS}"
        )


def resamples(n: int, key: str) -> None:
    """Raise UserError unless so many resamples can be compared, or there are none."""
    if n == 1:
        raise UserError(f"{key}={n}: must be 0 for no noise ceiling, or at least 2 to compare")


@dataclass
class CircuitConfig:
    """How edges are scored and the smallest circuit is found."""

    method: str = option(
        "How edges are scored",
        "eap-ig",
        choices={
            "eap-ig": "integrated gradients",
            "eap": "one step at the clean input",
            "exact": "patch every edge in turn, for small models",
        },
    )
    ig_steps: Any = option(  # noqa: RUF009
        "Steps of integrated gradients, for eap-ig; auto: 3, then 9, 27, 81, until the scores have "
        "converged",
        "auto",
        check=ig_steps,
    )
    ig_max_steps: int = option(
        "For auto: at most so many steps; scores that have not converged by then are flagged",
        27,
        choices=(3, 9, 27, 81),
    )
    ig_tolerance: float = option(
        "For auto: error of the scores that is enough, as a share of their sum, estimated from the "
        "last two numbers of steps",
        0.03,
        share=True,
    )
    quadrature: str = option(
        "Where the steps lie",
        "midpoint",
        choices={
            "right": "the published formula",
            "left": "EAP-IG's code",
            "midpoint": "closest to the integral, and what auto needs",
        },
    )
    threshold: float = option(
        "Share of the model's behaviour that a circuit must reach", 0.8, share=True
    )
    criterion: str = option(
        "Which share that is",
        "recovery",
        choices={
            "recovery": "of the behaviour counted from 0, as in the paper",
            "faithfulness": "counted from the corrupted behaviour, as in MIB",
        },
    )
    search: str = option(
        "Which sizes are evaluated",
        "coarse_to_fine",
        choices={"coarse_to_fine": "", "exhaustive": "every size"},
    )
    resamples: int = option(
        "Bootstrap resamples of the prompts, the same at all checkpoints, whose circuits' overlap "
        "is the noise ceiling; each costs another search. 0: none",
        2,
        least=0,
        most=MOST_SEARCHES,
        check=resamples,
    )
    batch_size: int | None = option(
        "Prompts at a time; null: as many as the memory allows, up to 64. Scores depend on it by "
        "rounding only",
        None,
        least=1,
        most=MOST_PROMPTS,
    )
    memory: str | None = option(
        "Memory that the analysis may take beside the model, e.g. 4GiB; null: half of what is free",
        None,
        check=parse_size,
    )


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
    experiment: str | None = option(
        "Name of the experiment preset in use, for the record", None, check=plain_name
    )
    sweep: str = option(
        "Name of the sweep: its folder below `out`, and the group of its runs",
        "default",
        check=plain_name,
    )
    out: str = option("Folder that sweeps are written to", "multirun", check=plain_path)
    cache: str = option(
        "Folder that trained nano models are kept in", "~/.cache/circuitwatch", check=plain_path
    )
    seed: int = option(
        "Seed of the prompts, the bootstrap, and a nano model's weights and data",
        0,
        least=0,
        most=MOST_SEED,
    )
    n_bootstrap: int = option(
        "Resamples of a bootstrap interval", 1000, least=10, most=MOST_RESAMPLES
    )
    device: str = option("Where it runs", "auto", choices=("auto", "cpu", "cuda", "mps"))
    dtype: str = option(
        "Precision of the analysis, whatever the weights on disk have; in less, weak edges are "
        "noise",
        "float32",
        choices=("float32", "float64"),
    )
    follow: bool = option(
        "For model=folder: go on watching the folder while it grows, until Ctrl-C (or SIGTERM), "
        "or follow_idle; a checkpoint is taken once its files are complete",
        False,
    )
    follow_idle: str | None = option(
        "For follow=true: end after so long without a new checkpoint, e.g. 30min; null: only when "
        "it is stopped",
        None,
        check=parse_duration,
    )
    follow_every: str = option(
        "For follow=true: look so often; a checkpoint whose files are the same for so long is "
        "complete",
        "10s",
        check=parse_duration,
    )
    shard: str | None = option(
        "Which part of the checkpoints is watched here, e.g. 3/16, if others watch the others at "
        "the same time; the last that ends puts them together",
        None,
        check=Shard.parsed,
    )
    threads: int | None = option(
        "CPU threads; null for all. Records are equal bit for bit only at the same number",
        1,
        least=1,
        most=MOST_THREADS,
    )


OVERRIDES = {
    as_written(key, spec): key for key, spec in options_of(Config) if spec.written is not None
}
"""What people write → the option's key, where they differ."""


def register(suites: Iterable[Suite] = (), templates: Mapping[str, Path] | None = None) -> None:
    """Tell Hydra about the schema, every task of the catalogue, the user's templates (name → file)
    and every model of the suites.
    """
    register_resolvers()
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for task in catalogue.tasks():
        store.store(group="task", name=task, node={"name": task})
    for task, path in (templates or {}).items():
        store.store(group="task", name=task, node={"name": task, "path": str(path)})
    store.store(group="task", name=OWN_TASK, node={"name": "${stem:${task.path}}"})
    models = {name: model for suite in suites for name, model in suite.models.items()}

    def published(name: str) -> Any:
        """The steps of a model that were published: `${published:'pythia-70m'}`."""
        return models[name]["steps"]

    OmegaConf.register_new_resolver("published", published, replace=True)
    for name, model in models.items():
        # Hydra copies the whole store at each start, node by node: a list of hundreds of steps for
        # each of a hundred models would take seconds, so each is looked up when it is needed.
        quoted = re.sub(r"(['\\])", r"\\\1", name)
        steps = f"${{published:'{quoted}'}}" if model.get("steps") else None
        store.store(group="model", name=name, node={**model, "steps": steps})


def register_resolvers() -> None:
    """Tell OmegaConf the functions that presets and choices are written with; a job in another
    process needs no more.
    """
    OmegaConf.register_new_resolver("by_task", by_task, replace=True)
    OmegaConf.register_new_resolver("stem", own_name, replace=True)


def own_name(path: str | None) -> str:
    """What the task of a user's file is called if nobody says: the file's stem. A folder, or no
    path, gives the name of the choice; what is wrong with it is said when it is read.
    """
    if not path:
        return OWN_TASK
    plain_path(path, "task.path")
    if Path(path).expanduser().is_dir():
        return OWN_TASK
    name = Path(path).stem
    try:
        plain_name(name, "task.name")  # before a folder is made for it
    except UserError as error:
        raise UserError(f"{error}; say task.name= for a file that is called so") from error
    return name


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
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise UserError(f"{missing[0]} is missing: it must be given")
    config = OmegaConf.to_object(config)
    assert isinstance(config, Config)
    check_options(config)
    require_midpoints(config.circuit)
    if config.task.name == OWN_TASK and not config.task.path:
        raise UserError(
            "task.path is missing: task=file needs task.path=<file of prompts, or a template>"
        )
    require_criterion(config)
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
    require_joining(config.model)
    if config.model.source == "nano" and config.model.tokenizer is not None:
        raise UserError(
            f"model.tokenizer={config.model.tokenizer} does nothing with model={config.model.name},"
            f" a nano model that is trained here with its own"
        )
    _require_growing(config)
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


def require_joining(model: ModelConfig) -> None:
    """Raise UserError for options of stages without stages that are joined; and name a branch after
    its ingredient, so that each has a cell of its own.
    """
    if model.source != "hub" and model.stages == "join":
        raise UserError(f"model.stages=join does nothing with model.source={model.source}")
    if model.stages != "join":
        for name in ("stage_steps", "stage_tokens", "ingredient"):
            if getattr(model, name) is not None:
                raise UserError(f"model.{name} does nothing without model.stages=join; add it")
    elif model.ingredient is not None:
        end = f"-ingredient{model.ingredient}"
        model.name = model.name.removesuffix(end) + end


def require_criterion(config: Config) -> None:
    """Raise UserError where the criterion of a circuit has no meaning for the task's metric, or
    there is no such task.
    """
    metric = task_of(config.task).metric
    catalogue.require_criterion(metric, config.circuit.criterion, "circuit.criterion")


def _require_growing(config: Config) -> None:
    """Raise UserError where there is nothing to follow, or no checkpoint can be chosen before the
    last one is there.
    """
    if not config.follow:
        for name in ("follow_idle", "follow_every"):
            if getattr(config, name) != getattr(Config, name):
                raise UserError(f"{name} does nothing without follow=true; add it")
        return
    if config.shard is not None:
        raise UserError(
            f"shard={config.shard}: with follow=true checkpoints are taken as they come, by one "
            f"process; leave out one of them"
        )
    if config.model.source != "folder":
        raise UserError(
            f"follow=true: model={config.model.name} does not grow while it is watched; follow "
            f"a run that writes checkpoints with model=folder"
        )
    if config.schedule.kind == "sparse":
        raise UserError(
            "follow=true: schedule=sparse can't be chosen before the last checkpoint is there; "
            "take schedule=log, every, steps or all"
        )
    idle = config.follow_idle
    if idle is not None and (
        parse_duration(idle, "follow_idle") < parse_duration(config.follow_every, "follow_every")
    ):
        raise UserError(
            f"follow_idle={idle}: must be at least follow_every={config.follow_every}, since "
            f"files are looked at that often"
        )


def require_midpoints(circuit: CircuitConfig) -> None:
    """Raise UserError where the number of steps is found by halving other than midpoint steps."""
    if (
        circuit.method == "eap-ig"
        and circuit.ig_steps == "auto"
        and circuit.quadrature != "midpoint"
    ):
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
