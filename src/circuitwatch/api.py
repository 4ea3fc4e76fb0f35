"""A model in a notebook: load a checkpoint, make prompts, score edges, find its circuit, patch.

    import circuitwatch as cw

    model = cw.load_model("path/step1000")
    prompts = cw.prompts("ioi", model)
    circuit = cw.find_circuit(model, prompts)
    circuit.edges, circuit.faithfulness
    cw.patch(model, prompts, senders=["a1.h0", "a1.h1"], receivers=["logits"])

The same functions watch a cell (`analysis`); here they have defaults and names. What a sweep wrote
is opened by `circuitwatch.open`, which imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from circuitwatch.algorithms.effects import Effects
from circuitwatch.analysis import (
    find_circuits,
    planned_for,
    score_edges,
    steps_at_once,
    torch_device,
)
from circuitwatch.behaviour import Behaviour, TaskMetric
from circuitwatch.behaviour import measure as measured
from circuitwatch.catalogue import Task, require_criterion
from circuitwatch.checkpoints.loading import load_model as load_transformer
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.circuits.attribution import graph_of
from circuitwatch.circuits.exchange import to_json
from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.memory import Plan
from circuitwatch.circuits.patching import Direction, PathPatcher
from circuitwatch.circuits.paths import MLPs
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.circuits.search import Criterion, SearchKind
from circuitwatch.config import CircuitConfig, Config
from circuitwatch.errors import UserError
from circuitwatch.limits import MOST_PROMPTS, MOST_RESAMPLES, MOST_SEED, require_whole
from circuitwatch.options import check_options, require_choice
from circuitwatch.tasks import PromptSet, build_prompts, task_called
from circuitwatch.transformer import Transformer

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "Circuit",
    "Model",
    "edge_scores",
    "find_circuit",
    "load_model",
    "measure",
    "patch",
    "prompts",
]

Dtype = Literal["float32", "float64"]
Method = Literal["eap-ig", "eap", "exact"]
Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Model:
    """A checkpoint: its weights as plain tensors, and its tokenizer. name: of its folder."""

    transformer: Transformer
    tokenizer: PreTrainedTokenizerBase
    name: str

    @cached_property
    def graph(self) -> Graph:
        """The edges that it has, and the names of its nodes."""
        return graph_of(self.transformer)


@dataclass(frozen=True)
class Circuit:
    """The smallest circuit that reaches the threshold, or why there is none.

    Attributes:
        graph: names and order of nodes and edges.
        mask: [sender, receiver], True for its edges; all False where there is none.
        scores: [sender, receiver], the scores of all edges.
        behaviour: the metric of the whole model, clean and corrupted.
        recovery: F(circuit) / F(model); None where there is no circuit.
        faithfulness: (F(circuit) − F(corrupted)) / (F(model) − F(corrupted)), likewise.
        curve: one row a size evaluated: edges_before_pruning, edges, value, recovery, faithfulness.
        exhaustive: whether every smaller size was evaluated.
        reason: why there is no circuit; empty where there is one.
        score_error: the estimated error of the scores as a share of their sum, where it is known.
    """

    graph: Graph
    mask: Mask
    scores: Scores
    behaviour: Behaviour
    recovery: float | None
    faithfulness: float | None
    curve: pd.DataFrame
    exhaustive: bool
    reason: str
    score_error: float | None

    @property
    def found(self) -> bool:
        """Whether there is one."""
        return not self.reason

    @property
    def edges(self) -> list[tuple[str, str]]:
        """Its edges (sender, receiver), the strongest first."""
        senders, receivers = np.nonzero(self.mask)
        order = np.argsort(-np.abs(self.scores[senders, receivers]), kind="stable")
        return [(self.graph.senders[senders[k]], self.graph.receivers[receivers[k]]) for k in order]

    @property
    def nodes(self) -> list[str]:
        """Its nodes, in the order they are computed."""
        return [self.graph.nodes[k] for k in np.flatnonzero(self.graph.nodes_in(self.mask))]

    def frame(self) -> pd.DataFrame:
        """Every edge of the model: sender, receiver, score, in_circuit; the strongest first."""
        return scores_frame(self.graph, self.scores, self.mask)

    def to_json(self, d_model: int) -> dict[str, Any]:
        """In the JSON of the EAP-IG library, which MIB takes too; d_model: the model's width."""
        return to_json(self.graph, self.scores, self.mask if self.found else None, d_model=d_model)

    def draw(self) -> Figure:
        """Its graph by layer, of a large circuit the strongest 300 edges."""
        from matplotlib.figure import Figure

        from circuitwatch.summary.figures.circuits import LANE, draw_graph, name_inputs, rows_of
        from circuitwatch.summary.figures.shared import COLUMN

        places = np.flatnonzero(self.mask)
        figure = Figure(figsize=(COLUMN, rows_of(self.graph) * LANE + 0.75), layout="constrained")
        strengths = np.abs(self.scores).ravel()[places]
        draw_graph(figure.subplots(), places, strengths, self.graph)
        name_inputs(figure)
        return figure

    def __len__(self) -> int:
        """Number of its edges."""
        return int(self.mask.sum())


def load_model(folder: str | Path, *, device: str = "auto", dtype: Dtype = "float32") -> Model:
    """Load a checkpoint from a folder with config.json, weights and a tokenizer, as transformers
    saves them.

    Weights are never unpickled and no code of the checkpoint is run; logits are compared with
    transformers' own. Raises UserError for a folder that lacks a file, an architecture that is not
    supported, and weights that are damaged.
    """
    require_choice(dtype, "dtype", get_args(Dtype))
    path = Path(folder).expanduser()
    transformer = load_transformer(path, device=torch_device(device), dtype=getattr(torch, dtype))
    return Model(transformer, load_tokenizer(path), path.name)


def prompts(
    task: str | Task,
    model: Model | PreTrainedTokenizerBase,
    *,
    n_prompts: int = 64,
    seed: int = 0,
    prepend_bos: bool = True,
    **options: Any,
) -> PromptSet:
    """Pairs of prompts of a task for a model's tokenizer, which may be given instead of the model.

    Args:
        task: the name of a task in the catalogue, or a Task of one's own.
        model: the model, or a tokenizer.
        n_prompts: pairs of prompts, at least 2.
        seed: the same arguments give the same prompts.
        prepend_bos: begin every prompt with the beginning-of-text token, if there is one.
        options: of the task, such as corruption="abc" for ioi.

    Returns:
        clean and corrupted token ids [prompt, pos] with the answers; see `PromptSet`.

    Raises:
        UserError: there is no such task, or the tokenizer lacks too many of its words.
    """
    require_whole(n_prompts, "n_prompts", 2, MOST_PROMPTS)
    require_whole(seed, "seed", 0, MOST_SEED)
    tokenizer = model.tokenizer if isinstance(model, Model) else model
    if not hasattr(tokenizer, "encode") or isinstance(tokenizer, str):
        raise UserError(f"prompts: {tokenizer!r} is no model of load_model and no tokenizer")
    chosen = task_called(task) if isinstance(task, str) else task
    for option in options:
        require_choice(option, f"task {chosen.name}: option", chosen.options)
    return build_prompts(
        task, tokenizer, n_prompts=n_prompts, seed=seed, prepend_bos=prepend_bos, **options
    )


def measure(
    model: Model | Transformer, prompts: PromptSet, *, n_bootstrap: int = 1000, seed: int = 0
) -> Behaviour:
    """What the model does on the prompts: metric, effect of the deciding word, accuracy, with 95 %
    bootstrap intervals over prompts.
    """
    require_whole(n_bootstrap, "n_bootstrap", 10, MOST_RESAMPLES)
    require_whole(seed, "seed", 0, MOST_SEED)
    prepared = prepare(model, prompts)
    return measured(*prepared.end_logits(), prompts, n_bootstrap=n_bootstrap, seed=seed)


def edge_scores(
    model: Model | Transformer,
    prompts: PromptSet,
    *,
    method: Method = "eap-ig",
    ig_steps: int | Literal["auto"] = "auto",
    batch_size: int | None = None,
) -> pd.DataFrame:
    """Score every edge by how much of the metric goes through it (EAP-IG; Hanna et al.,
    2403.17806).

    Args:
        model: the model.
        prompts: pairs of prompts.
        method: `eap-ig`; `eap`, one step at the clean input; `exact`, each edge patched in turn.
        ig_steps: steps of integrated gradients; auto: midpoint nodes until the scores converge.
        batch_size: prompts at a time; as many as memory allows by default.

    Returns:
        one row an edge: sender, receiver, score; the strongest first.
    """
    options = _checked(CircuitConfig(method=method, ig_steps=ig_steps, batch_size=batch_size))
    planned = _planned(model, prompts, options)
    prepared = prepare(model, prompts, batch_size=planned.batch_size)
    of_all_prompts = np.ones((1, prepared.n_prompts))
    scored = score_edges(prepared, TaskMetric(prompts), options, of_all_prompts)
    return scores_frame(graph_of(prepared.model), scored.scores[0]).drop(columns="in_circuit")


def find_circuit(
    model: Model | Transformer,
    prompts: PromptSet,
    *,
    threshold: float = 0.8,
    criterion: Criterion = "recovery",
    search: SearchKind = "coarse_to_fine",
    method: Method = "eap-ig",
    ig_steps: int | Literal["auto"] = "auto",
    batch_size: int | None = None,
    on_evaluation: Callable[[int], None] | None = None,
) -> Circuit:
    """Find the smallest circuit that keeps a share of what the model does on the prompts.

    Args:
        model: the model.
        prompts: pairs of prompts.
        threshold: the share that must be kept, in (0, 1].
        criterion: of which share: `recovery`, F(circuit) / F(model) (Tigges et al., 2407.10827), or
            `faithfulness`, which counts from the corrupted prompts (MIB, 2504.13151).
        search: `coarse_to_fine`, or `exhaustive`: every size.
        method: how edges are scored, as in `edge_scores`.
        ig_steps: as in `edge_scores`.
        batch_size: as in `edge_scores`.
        on_evaluation: called with the number of circuits evaluated so far.

    Returns:
        the circuit; where there is none, `reason` says why: a behaviour that is not above chance
        has none.

    Raises:
        UserError: the threshold is not in (0, 1].
    """
    options = CircuitConfig(
        method=method,
        ig_steps=ig_steps,
        threshold=threshold,
        criterion=criterion,
        search=search,
        resamples=0,
        batch_size=batch_size,
    )
    planned = _planned(model, prompts, _checked(options))
    require_criterion(prompts.metric, criterion, "criterion")
    prepared = prepare(model, prompts, batch_size=planned.batch_size)
    does = measured(*prepared.end_logits(), prompts, n_bootstrap=1000, seed=0)
    graph = graph_of(prepared.model)
    if not does.above_chance:
        none = np.zeros(graph.edges.shape)
        reason = f"behaviour not above chance ({does.not_above_chance})"
        return Circuit(
            graph, none.astype(bool), none.astype(np.float32), does, None, None,
            pd.DataFrame(), False, reason, None,
        )  # fmt: skip
    result, scored, _ = find_circuits(
        prepared,
        prompts,
        does,
        Config(circuit=options),
        planned.reuse,
        say=lambda _: None,
        on_evaluation=on_evaluation,
    )
    mask, shares = np.zeros_like(graph.edges), dict[str, float]()
    if result.mask is not None:
        mask = result.mask
        row = result.curve.set_index("edges_before_pruning").loc[result.edges_before_pruning]
        names = ("recovery", "faithfulness")
        shares = {name: float(row[name]) for name in names if pd.notna(row[name])}
    return Circuit(
        graph,
        mask,
        scored.scores[0],
        does,
        shares.get("recovery"),
        shares.get("faithfulness"),
        result.curve,
        result.exhaustive,
        result.reason or "",
        scored.error,
    )


def patch(
    model: Model | Transformer,
    prompts: PromptSet,
    *,
    senders: str | Sequence[str | Sequence[str]],
    receivers: str | Sequence[str],
    positions: Tensor | None = None,
    mlps: MLPs = "recomputed",
    direction: Direction = "noising",
) -> pd.DataFrame:
    """What senders do through the direct path to some receivers (Wang et al., 2211.00593).

    Args:
        model: the model.
        prompts: pairs of prompts.
        senders: names such as a3.h5 or m2, each patched by itself; a list of names is patched
            together, as one sender.
        receivers: names such as logits, m3, or a4.h1<q>.
        positions: [prompt, place], where the receivers take what arrives; everywhere by default.
        mlps: whether MLPs on the path are `recomputed`, or `frozen`.
        direction: `noising` puts a corrupted output into the clean run, −1 destroys the behaviour;
            `denoising` a clean one into the corrupted run, +1 restores it.

    Returns:
        one row a sender: sender, receivers, effect, low, high (95 %, over prompts).

    Raises:
        UserError: a name is none of this model's, or the prompts have no effect to share.
    """
    require_choice(mlps, "mlps", get_args(MLPs))
    require_choice(direction, "direction", get_args(Direction))
    senders = [senders] if isinstance(senders, str) else senders
    receivers = [receivers] if isinstance(receivers, str) else receivers
    sets = [[sender] if isinstance(sender, str) else list(sender) for sender in senders]
    names = ["+".join(one) for one in sets]
    if not sets or not receivers:
        raise UserError("patch: give at least one sender and one receiver, e.g. a3.h5 and logits")
    _require_paths(graph_of(_transformer(model)), sets, receivers)
    patcher = PathPatcher(prepare(model, prompts), TaskMetric(prompts))
    try:
        patched = patcher.patch(
            sets, list(receivers), positions=positions, mlps=mlps, direction=direction
        )
    except ValueError as error:
        raise UserError(f"patch: {error}") from error
    if patched.total == 0:
        raise UserError(
            "patch: clean and corrupted prompts have the same metric: no effect has a unit"
        )
    return Effects.of(patched, names, "+".join(receivers)).table()


def prepare(model: Model | Transformer, prompts: PromptSet, *, batch_size: int = 32) -> Prepared:
    """Prompts made ready for one model, for `PathPatcher` and other analyses of one's own."""
    require_whole(batch_size, "batch_size", 1, MOST_PROMPTS)
    return Prepared(_transformer(model), prompts, batch_size=batch_size)


def scores_frame(graph: Graph, scores: Scores, mask: Mask | None = None) -> pd.DataFrame:
    """Scores [sender, receiver] of all edges as a table: sender, receiver, score, in_circuit; the
    strongest first.
    """
    senders, receivers = np.nonzero(graph.edges)
    values = scores[senders, receivers]
    inside = np.zeros(values.size, dtype=bool) if mask is None else mask[senders, receivers]
    order = np.argsort(-np.abs(values), kind="stable")
    return pd.DataFrame(
        {
            "sender": np.array(graph.senders, dtype=object)[senders[order]],
            "receiver": np.array(graph.receivers, dtype=object)[receivers[order]],
            "score": values[order].astype(float),
            "in_circuit": inside[order],
        }
    )


def _require_paths(graph: Graph, sets: Sequence[Sequence[str]], receivers: Sequence[str]) -> None:
    """Raise UserError for senders that come after every receiver: nothing could be patched. Names
    that are none of the model's are left to the patcher.
    """
    if all(name in graph.receivers for name in receivers):
        seen = max(graph.visible[graph.receivers.index(name)] for name in receivers)
        for senders in sets:
            places = [graph.senders.index(name) for name in senders if name in graph.senders]
            if places and min(places) >= seen:
                raise UserError(
                    f"patch: no path leads from {'+'.join(senders)} to {'+'.join(receivers)}, "
                    f"which are computed before"
                )


def _transformer(model: Model | Transformer) -> Transformer:
    return model.transformer if isinstance(model, Model) else model


def _checked(options: CircuitConfig) -> CircuitConfig:
    """Arguments that are options of a cell too, held to the same facts. Raises UserError naming the
    first that can't have its value.
    """
    check_options(options)
    return options


def _planned(model: Model | Transformer, prompts: PromptSet, options: CircuitConfig) -> Plan:
    """How many prompts at a time, within half of the memory that is free."""
    return planned_for(_transformer(model), prompts, options, steps=steps_at_once(options))
