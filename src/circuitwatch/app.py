"""The command line: a thin entry point for each thing a person does.

    circuitwatch model=nano-400k task=ioi          watch one cell
    circuitwatch -m model=a,b task=c,d             sweep over cells
    circuitwatch train model=nano-400k             train a nano suite without watching it
    circuitwatch doctor model=pythia-2.8b          missing and duplicate checkpoints
    circuitwatch summarize sweep=default           emergence, scaling, figures, report of a sweep
    circuitwatch summarize from=a.csv,evals to=b   the same of others' results
    circuitwatch transfer sweep=default            circuits at other checkpoints, on other tasks
    circuitwatch export cell=<folder> to=<folder>  the circuits of a cell as EAP-IG's JSON

Errors that a user can mend are one line on standard error and exit code 2.
"""

from __future__ import annotations

import difflib
import itertools
import os
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from circuitwatch import __version__
from circuitwatch.errors import UserError

if TYPE_CHECKING:
    from circuitwatch.checkpoints.suites import Suite
    from circuitwatch.config import Config

HELP = """circuitwatch {version}: when does an ability emerge in training, which circuit computes it, and does that stay?

  circuitwatch [watch] [-m] [key=value ...]     watch one cell (model × task), or with -m sweep over lists of values
  circuitwatch train model=<nano model>         train a nano suite into the cache without watching it
  circuitwatch doctor model=<model> [schedule=…] hashes of a model's checkpoints: which are missing, which are duplicates; downloads no weights
  circuitwatch summarize sweep=<name>           emergence table, scaling, figures and report.html of a sweep  [out=multirun]
  circuitwatch summarize from=<source>[,…] to=<folder>   the same of any mix of sources: cells, results of lm-evaluation-harness, tidy tables (CSV, TSV,
                                                Parquet: model, params, step or tokens, task, quantity, value[, stderr, seed]), wandb:<entity>/<project>
                                                [columns=<ours>:<the file's>,…] [tokens_per_step=<number>] [thresholds=<task>/<quantity>:<level>,…]
  circuitwatch transfer sweep=<name>            circuits of each checkpoint imposed on the model at the others, and on the other tasks' prompts: what is kept
                                                [out=multirun] [checkpoints=12, at most, of each model]
  circuitwatch export cell=<folder> to=<folder> the circuits of a cell, one JSON file a checkpoint, as the EAP-IG library and MIB read them
  circuitwatch --help | --version

Examples
  circuitwatch model=nano-400k task=ioi
  circuitwatch -m model=nano-200k,nano-400k task=ioi,greater_than sweep=mine
  circuitwatch -m experiment=demo
  circuitwatch -m model=pythia-70m,pythia-160m,pythia-160m-seed3 task=ioi schedule=sparse schedule.to=100B checkpoints.disk=10GiB
  circuitwatch model=folder model.path=runs/mine model.name=mine model.tokens_per_step=524288 task=ioi
  circuitwatch -m model=nano-200k,nano-400k hydra/launcher=joblib        (or submitit_slurm, ray)

Choices
{choices}
Options
{options}
A cell that is done is skipped, and one that was killed goes on where it stopped: run the same command again.
Without a W&B account nothing leaves this machine (tracking=off: W&B is not used at all). Add --cfg job to see the resolved configuration.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands: dict[str, Callable[[list[str]], None]] = {
        "watch": _watch,
        "train": _train,
        "doctor": _doctor,
        "summarize": _summarize,
        "transfer": _transfer,
        "export": _export,
    }
    words = [argument for argument in arguments if argument not in commands]
    if words[:1] in (["-h"], ["--help"], ["help"]):
        print(_help())
        return
    if arguments == ["--version"]:
        print(f"circuitwatch {__version__}")
        return
    if (
        arguments
        and re.fullmatch(r"[\w-]+", arguments[0])
        and not arguments[0].startswith("-")
        and arguments[0] not in commands
    ):
        _fail(f"{arguments[0]}: no such command; there are {', '.join(commands)}, and --help")
    command = commands[arguments.pop(0)] if arguments and arguments[0] in commands else _watch
    signal.signal(signal.SIGTERM, _terminate)
    try:
        command(arguments)
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        then = (
            "nothing was changed"
            if command is _summarize
            else "the same command goes on where it stopped"
        )
        print(f"circuitwatch: interrupted; {then}", file=sys.stderr)
        sys.exit(130)


def conf_dir() -> Path:
    """The configuration groups: the installed package's own, else the repository's."""
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


def _watch(arguments: list[str]) -> None:
    def watch(config: Config) -> None:
        from circuitwatch.config import cell_folder
        from circuitwatch.monitor import watch_cell

        watch_cell(config, cell_folder(config))

    _with_hydra(arguments, watch)


def _train(arguments: list[str]) -> None:
    def train(config: Config) -> None:
        if config.model.source != "nano":
            raise UserError(f"model={config.model.name}: only nano models are trained here")
        from circuitwatch.monitor import trained_suite

        print(trained_suite(config))

    _with_hydra([*arguments, "hydra.run.dir=."], train)


def _doctor(arguments: list[str]) -> None:
    def look(config: Config) -> None:
        from dataclasses import asdict

        from circuitwatch.checkpoints.audit import audit_table
        from circuitwatch.checkpoints.schedule import select
        from circuitwatch.monitor import open_source
        from circuitwatch.progress import CellProgress, wide_console

        source = open_source(config)
        checkpoints = select(source.available(), **asdict(config.schedule))
        with CellProgress(f"doctor {config.model.name}", len(checkpoints)) as progress:
            audit = source.audit(checkpoints, progress.at)
        params = config.model.params_total
        size = f", {params:,} parameters" if params else ""
        where = f" ({config.model.hub_id}{size})" if config.model.hub_id else ""
        wide_console().print(audit_table(f"{config.model.name}{where}", checkpoints, audit))

    _with_hydra([*arguments, "hydra.run.dir=."], look)


def _suites(arguments: Sequence[str] = ()) -> list[Suite]:
    """The suites of this program, and those below folders that the arguments give with
    --config-dir.
    """
    from circuitwatch.checkpoints.suites import read_suites

    flags = ("--config-dir", "-cd")
    given = [
        a.split("=", 1)[1] for a in arguments if a.startswith(tuple(f"{flag}=" for flag in flags))
    ]
    given += [after for flag, after in itertools.pairwise(arguments) if flag in flags]
    return read_suites([conf_dir(), *(Path(folder) for folder in given)])


def _with_hydra(arguments: list[str], action: Callable[[Config], None]) -> None:
    """Compose the configuration and act on it, or on each of a sweep's; what a user can mend
    becomes a UserError.

    In a sweep the other cells go on when one fails, and the error at the end names all that failed.
    """
    os.environ["HYDRA_FULL_ERROR"] = (
        "1"  # let errors through to us instead of a traceback and exit code 1
    )
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf.errors import OmegaConfBaseException

    from circuitwatch.config import BOUNDS, register, validate

    failed: list[str] = []

    def job(cell: object) -> None:
        about = HydraConfig.get()
        try:
            action(validate(cell))
        except UserError as error:
            _remove_empty(Path(about.runtime.output_dir))
            if "BasicLauncher" not in about.launcher._target_:
                raise  # in another process or on another machine: its launcher brings the error back
            failed.append(str(error))
            if about.mode == RunMode.MULTIRUN:
                failed[-1] = f"{about.job.override_dirname}: {error}"
                print(
                    f"circuitwatch: error: {failed[-1]}; going on with the other cells",
                    file=sys.stderr,
                )

    suites = _suites(arguments)
    register(suites)
    overrides = [argument.partition("=") for argument in arguments]
    sys.argv = [
        "circuitwatch",
        *(BOUNDS.get(key, key) + equals + value for key, equals, value in overrides),
    ]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_one_line(error, suites)) from error
    except OSError as error:
        raise UserError(
            f"{error.filename or 'out'}: can't be used ({error.strerror or error})"
        ) from error
    if len(failed) > 1:
        raise UserError(f"{len(failed)} cells failed: " + "; ".join(failed))
    if failed:
        raise UserError(failed[0])


def _given(
    command: str,
    arguments: list[str],
    *,
    needed: set[str],
    optional: Set[str] = frozenset(),
    hint: str,
) -> dict[str, str]:
    """The key=value arguments of a command that Hydra does not read.

    Raises UserError with the hint if any is missing or unknown.
    """
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    keys = {argument.split("=", 1)[0] for argument in arguments}
    if keys - needed - optional or not all(given.get(key) for key in needed):
        raise UserError(f"{' '.join([command, *arguments])}: {hint}")
    return given


def _sweep_folder(given: dict[str, str]) -> Path:
    """The folder of the sweep that a command was given. Raises UserError if there is none."""
    folder = Path(given.get("out", "multirun")).expanduser() / given["sweep"]
    if not folder.is_dir():
        there = (
            sorted(path.name for path in folder.parent.iterdir() if path.is_dir())
            if folder.parent.is_dir()
            else []
        )
        raise UserError(
            f"{folder}: no such sweep; there {'are ' + ', '.join(there) if there else 'is none'}"
        )
    return folder


def _summarize(arguments: list[str]) -> None:
    from circuitwatch.summary import importers, print_summary, summarize, summarize_sources

    if any(argument.startswith(("from=", "to=")) for argument in arguments):
        given = _given(
            "summarize",
            arguments,
            needed={"from", "to"},
            optional=importers.OPTIONS,
            hint=importers.HINT,
        )
        request = importers.parse_request(given)
        folder = request.to
    else:
        hint = (
            "give sweep=<name>, and out=<folder> if it is not multirun; or "
            "from=<path>[,…] and to=<folder>"
        )
        given = _given("summarize", arguments, needed={"sweep"}, optional={"out"}, hint=hint)
        request = None
        folder = _sweep_folder(given)
    try:
        print_summary(
            summarize(folder) if request is None else summarize_sources(request, _suites())
        )
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: can't be written ({error.strerror})"
        ) from error


def _transfer(arguments: list[str]) -> None:
    hint = (
        "give sweep=<name>, and out=<folder> if it is not multirun, checkpoints=<number> if not 12"
    )
    given = _given(
        "transfer", arguments, needed={"sweep"}, optional={"out", "checkpoints"}, hint=hint
    )
    at_most = given.get("checkpoints", "12")
    if not at_most.isdecimal() or int(at_most) < 2:
        raise UserError(
            f"checkpoints={at_most}: give a whole number of at least 2, the first and the last"
        )
    folder = _sweep_folder(given)
    from circuitwatch.transfer import transfer

    try:
        transfer(folder, checkpoints=int(at_most))
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: can't be used ({error.strerror or error})"
        ) from error


def _export(arguments: list[str]) -> None:
    hint = "give cell=<folder of one cell> and to=<folder to write>"
    given = _given("export", arguments, needed={"cell", "to"}, hint=hint)
    import json

    from circuitwatch.circuits.exchange import to_json
    from circuitwatch.circuits.graph import Graph
    from circuitwatch.records import Cell

    cell, target = Cell.open(Path(given["cell"]).expanduser()), Path(given["to"]).expanduser()
    about = cell.header["model"]
    graph = Graph(about["n_layers"], about["n_heads"], about["parallel"])
    written = 0
    try:
        target.mkdir(parents=True, exist_ok=True)
        for record in cell.records():
            if record.scores is not None:
                content = to_json(graph, record.scores, record.mask, d_model=about["d_model"])
                (target / f"step{record.step}.json").write_text(
                    json.dumps(content) + "\n", encoding="utf-8"
                )
                written += 1
    except OSError as error:
        raise UserError(
            f"{error.filename or target}: can't be written ({error.strerror})"
        ) from error
    print(
        f"{target}: {written} circuits of {len(cell.steps_done())} checkpoints; the others "
        f"have no scored edges"
    )


def _one_line(error: BaseException, suites: Sequence[Suite]) -> str:
    """What is wrong, and what there is to choose from, of Hydra's several lines."""
    text = str(error) or str(error.__cause__)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    if missing := re.match(r"(?:In '[^']*': )?Could not find '(\w+)/([^']*)'", lines[0]):
        group, name = missing.groups()
        there = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
        nearest = ""
        if group == "model":
            near = difflib.get_close_matches(
                name, [model for suite in suites for model in suite.models], n=3
            )
            there += [
                f"a model of the suites {', '.join(suite.name for suite in suites)} "
                f"(circuitwatch --help lists them)"
            ]
            nearest = f"{' or '.join(near)}; or " if near else ""
        return f"{group}={name}: no such {group}; choose one of {nearest}{', '.join(there)}"
    if unknown := re.search(r"Key '([^']+)' (?:not in|is not in struct)", lines[0]) or re.search(
        r"Could not override '([^']+)'", lines[0]
    ):
        return f"{unknown[1]}: no such option; circuitwatch --help lists them"
    if wrong := re.search(r"Error merging override (\S+)", lines[0]):
        return f"{wrong.group(1)}: {str(error.__cause__).splitlines()[0]}"
    key = next(
        (line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), ""
    )
    return f"{key}: {lines[0]}" if key else lines[0]


def _remove_empty(folder: Path) -> None:
    """Remove the folder that Hydra made for a cell that did not start, and those of its task, model
    and sweep if they are empty too.
    """
    for candidate in (folder, *folder.parents[:3]):
        if candidate == Path.cwd():
            return
        try:
            candidate.rmdir()
        except OSError:
            return


def _folded(names: list[str]) -> list[str]:
    """Names of models, a model's variants behind it in brackets."""
    folded: dict[str, list[str]] = {}
    for name in names:
        base = next((known for known in folded if name.startswith(f"{known}-")), None)
        if base is None:
            folded[name] = []
        else:
            folded[base].append(name.removeprefix(base))
    numbered = re.compile(r"(.*\D)(\d+)$")
    for variants in folded.values():
        groups = [
            list(group)
            for _, group in itertools.groupby(variants, lambda name: numbered.sub(r"\1", name))
        ]
        variants[:] = [
            f"{g[0]}…{g[-1].rsplit('seed', 1)[-1]}" if len(g) > 2 else g[0] for g in groups
        ]
    return [
        f"{base}[{'|'.join(variants)}]" if variants else base for base, variants in folded.items()
    ]


def _help() -> str:
    import ast
    import dataclasses
    import inspect

    from circuitwatch import catalogue, config

    choices = ""
    for group in ("model", "task", "schedule", "circuit", "tracking", "experiment"):
        choices += (
            f"  {group}=".ljust(14)
            + " | ".join(sorted(path.stem for path in (conf_dir() / group).glob("*.yaml")))
            + "\n"
        )
    choices += "Suites, each model of which is a choice of model=\n"
    for suite in _suites():
        choices += (
            f"  {suite.name}: {suite.about}\n"
            + textwrap.fill(
                ", ".join(_folded(list(suite.models))),
                120,
                initial_indent="    ",
                subsequent_indent="    ",
                break_on_hyphens=False,
            )
            + "\n"
        )
    groups = {"": config.Config} | {
        f"{part}.": getattr(config, f"{part.capitalize()}Config")
        for part in ("model", "task", "schedule", "checkpoints", "circuit", "heads", "tracking")
    }
    options = ""
    for prefix, kind in groups.items():
        body = ast.parse(inspect.getsource(kind)).body[0]
        assert isinstance(body, ast.ClassDef)
        documented = {
            before.target.id: " ".join(str(after.value.value).split())
            for before, after in zip(body.body, body.body[1:], strict=False)
            if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name)
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        }
        for field in dataclasses.fields(kind):
            if field.name in documented:
                options += f"  {prefix}{field.name}".ljust(26) + f" {documented[field.name]}\n"
                if f"{prefix}{field.name}" == "heads.thresholds":
                    for role in catalogue.roles().values():
                        name = f"  heads.thresholds.{role.name}".ljust(26)
                        options += f"{name} {role.threshold:g}: {role.source}\n"
    return HELP.format(version=__version__, choices=choices, options=options)


def _terminate(signum: int, frame: FrameType | None) -> None:
    """Leave as after Ctrl-C, so that files are closed and W&B writes out what it holds."""
    raise KeyboardInterrupt


def _fail(message: str) -> None:
    print(f"circuitwatch: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
