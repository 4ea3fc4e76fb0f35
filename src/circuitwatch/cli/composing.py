"""The commands that Hydra composes a configuration for: `watch`, `train`, `doctor`, `prompts`."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from circuitwatch import catalogue
from circuitwatch.checkpoints.suites import Suite
from circuitwatch.cli.arguments import no_such_choice, read_line
from circuitwatch.cli.choices import (
    choices_of,
    choosable,
    conf_dir,
    mentioned,
    own_templates,
    suites,
)
from circuitwatch.cli.leftovers import Before
from circuitwatch.cli.naming import require_names
from circuitwatch.cli.stopping import STOPPING
from circuitwatch.config import Config, register
from circuitwatch.errors import UserError, of_files
from circuitwatch.sweeping import job
from circuitwatch.sweeping.outcome import require_all_well, say_unsaid


def with_hydra(
    arguments: list[str], action: Callable[[Config], None], *, watches: bool = False
) -> None:
    """Compose the configuration and act on it, or on each of a sweep's; what a user can mend
    becomes a UserError.

    In a sweep the other cells go on when one fails, which is said at once, and the error at the end
    names all that failed. watches: the action records cells, so a sweep's state is kept.
    """
    # Let errors through to us instead of a traceback and exit code 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    require_names(arguments)
    offered, templates = suites(arguments), own_templates(arguments)
    line = read_line(arguments, offered, templates)
    before = Before.of(arguments)
    task = job.CURRENT = job.Job(action, templates, before, watches)
    sys.argv = ["circuitwatch", *line.arguments()]
    STOPPING.undo = before.remove_empty
    try:
        # Another of their files must not be in the way of the task that is asked for.
        register(mentioned(offered, arguments), choosable(templates))
        plainly(
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(task)
        )
        if task.single is not None:
            raise task.single
        _show_end(task)
        require_all_well(task)  # before what is empty is removed: it reads what was noted there
    except (HydraException, OmegaConfBaseException) as error:
        say_unsaid(task)
        raise UserError(one_line(error, offered, templates)) from error
    except UserError as error:  # OmegaConf adds lines to what the defaults of options raise
        raise UserError(re.sub(r"\s*\n\s*(full_key:|object_type=).*", "", str(error))) from error
    except OSError as error:
        raise of_files(error, "out") from error
    except Exception as error:
        # A launcher that gives up, as submitit does after a job was killed.
        if task.sweep is None:
            raise
        _show_end(task)
        require_all_well(task, stopped_by=error)
    finally:
        before.remove_empty(task.sweep)


def _show_end(task: job.Job) -> None:
    """Print how a sweep ended, as far as its records can be read; of a run that is no sweep its
    cell has told.
    """
    if task.sweep is None or task.planned is None:
        return
    from circuitwatch.progress import table_console
    from circuitwatch.sweeping.ending import print_sweep

    with suppress(OSError):  # what became of the jobs is said in any case
        print_sweep(task.sweep, [entry.folder for entry in task.planned], table_console())


def one_line(error: BaseException, suites: Sequence[Suite], templates: Iterable[str] = ()) -> str:
    """What is wrong, and what there is to choose from, of Hydra's several lines; templates: names
    of the user's own.
    """
    text = str(error) or str(error.__cause__)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    if missing := re.match(r"(?:In '[^']*': )?Could not find '([\w/]+)/([^'/]*)'", lines[0]):
        group, name = missing.groups()
        listed = text.partition("Available options in")[2].partition("Config search")[0]
        there = [option.strip() for option in listed.splitlines()[1:]]
        is_hydra = group.startswith("hydra/")
        offered = [option for option in there if option] if is_hydra else choices_of(group)
        if group == "task":
            offered = sorted({*offered, *templates})
        models = [model for suite in suites for model in suite.models]
        return no_such_choice(group, name, offered, models, suites)
    if unknown := re.search(r"Key '([^']+)' (?:not in|is not in struct)", lines[0]) or re.search(
        r"Could not override '([^']+)'", lines[0]
    ):
        if unknown[1].startswith("heads.thresholds."):
            return f"{unknown[1]}: no such role; there are {', '.join(catalogue.roles())}"
        return f"{unknown[1]}: no such option; circuitwatch --help lists them"
    if wrong := re.search(r"Error merging override (\S+)", lines[0]):
        cause = str(error.__cause__ or lines[-1]).strip().splitlines() or lines
        return f"{wrong.group(1)}: {cause[0]}"
    if lines[0].endswith(":") and len(lines) > 1:  # and what follows says why
        return f"{lines[0]} {lines[1]}"
    key = next(
        (line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")),
        "",
    )
    return f"{key}: {lines[0]}" if key else lines[0]


def plainly(run: Callable[[], object]) -> None:
    """Run what Hydra made of a task function; whatever goes wrong before the first job, in
    composing, is a HydraException, of which there is one line to say.

    Hydra and OmegaConf meet odd values with AssertionError, TypeError, KeyError and more.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        run()
    except (HydraException, OmegaConfBaseException, UserError, OSError):
        raise
    except SystemExit as end:  # Hydra has said what is wrong
        if end.code not in (0, None) and not _has_begun(end):
            sys.exit(2)
        raise
    except Exception as error:
        if _has_begun(error):
            raise
        said = _where_in_yaml(error) or str(error).strip() or type(error).__name__
        raise HydraException(f"the configuration can't be composed: {said}") from error


def _where_in_yaml(error: Exception) -> str:
    """The file and the line in which YAML is wrong, and what is; else empty."""
    from yaml import MarkedYAMLError

    if isinstance(error, UnicodeDecodeError):  # it names no file, but Hydra was reading one
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        files = [frame.f_locals.get("full_path") for frame in frames]
        return next((f"{file}: is not text in UTF-8" for file in files if file), "")
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return ""
    mark = error.problem_mark
    problem = " ".join(filter(None, (error.context, error.problem)))
    return f"{mark.name}, line {mark.line + 1}: {problem}"


def _has_begun(error: BaseException) -> bool:
    """Whether an error is that of a job, or of a launcher, not of composing."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_name in ("run_job", "launch") for frame, _ in frames)
