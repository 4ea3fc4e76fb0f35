"""The commands that Hydra composes a configuration for: `watch`, `train`, `doctor`, `prompts`."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from circuitwatch import catalogue
from circuitwatch.checkpoints.suites import Suite
from circuitwatch.cli.choices import (
    choices_of,
    choosable,
    conf_dir,
    own_templates,
    require_choosable,
    suites,
)
from circuitwatch.config import OVERRIDES, Config, register, validate
from circuitwatch.errors import UserError
from circuitwatch.records import SCHEDULE

FOLLOWED_IN_TURN = (
    "follow=true: with -m one cell comes after another, and the second would wait for the end of "
    "the first; start a command for each, or take a launcher that runs them side by side "
    "(hydra/launcher=joblib)"
)


def with_hydra(arguments: list[str], action: Callable[[Config], None]) -> None:
    """Compose the configuration and act on it, or on each of a sweep's; what a user can mend
    becomes a UserError.

    In a sweep the other cells go on when one fails, and the error at the end names all that failed.
    """
    # Let errors through to us instead of a traceback and exit code 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    failed: list[str] = []

    def job(cell: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        in_turn = "BasicLauncher" in hydra_config.launcher._target_
        if in_turn and hydra_config.mode == RunMode.MULTIRUN and OmegaConf.select(cell, "follow"):
            before.remove_unused(Path(hydra_config.runtime.output_dir))
            failed[:] = [FOLLOWED_IN_TURN]  # once for all cells
            return
        try:
            require_choosable(hydra_config.runtime.choices.get("task"), templates)
            action(validate(cell))
        except UserError as error:
            before.remove_unused(Path(hydra_config.runtime.output_dir))
            if not in_turn:
                raise  # in another process or on another machine; its launcher passes it on
            failed.append(str(error))
            if hydra_config.mode == RunMode.MULTIRUN:
                failed[-1] = f"{hydra_config.job.override_dirname}: {error}"
                print(
                    f"circuitwatch: error: {failed[-1]}; going on with the other cells",
                    file=sys.stderr,
                )

    offered, templates = suites(arguments), own_templates(arguments)
    overrides = [argument.partition("=") for argument in arguments]
    before = _Before.of(arguments)
    sys.argv = [
        "circuitwatch",
        *(OVERRIDES.get(key, key) + equals + value for key, equals, value in overrides),
    ]
    try:
        # Another of their files must not be in the way of the task that is asked for.
        register(offered, choosable(templates))
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line(error, offered, templates)) from error
    except UserError as error:  # OmegaConf adds lines to what the defaults of options raise
        raise UserError(re.sub(r"\s*\n\s*(full_key:|object_type=).*", "", str(error))) from error
    except OSError as error:
        raise UserError(
            f"{error.filename or 'out'}: can't be used ({error.strerror or error})"
        ) from error
    finally:
        before.remove_empty()
    if len(failed) > 1:
        raise UserError(f"{len(failed)} cells failed: " + "; ".join(failed))
    if failed:
        raise UserError(failed[0])


def one_line(error: BaseException, suites: Sequence[Suite], templates: Iterable[str] = ()) -> str:
    """What is wrong, and what there is to choose from, of Hydra's several lines; templates: names
    of the user's own.
    """
    text = str(error) or str(error.__cause__)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    if missing := re.match(r"(?:In '[^']*': )?Could not find '(\w+)/([^']*)'", lines[0]):
        group, name = missing.groups()
        offered = choices_of(group)
        nearest = ""
        if group == "task":
            offered = sorted({*offered, *templates})
        if group == "model":
            near = difflib.get_close_matches(
                name, [model for suite in suites for model in suite.models], n=3
            )
            offered += [
                f"a model of the suites {', '.join(suite.name for suite in suites)} "
                f"(circuitwatch --help lists them)"
            ]
            nearest = f"{' or '.join(near)}; or " if near else ""
        return f"{group}={name}: no such {group}; choose one of {nearest}{', '.join(offered)}"
    if unknown := re.search(r"Key '([^']+)' (?:not in|is not in struct)", lines[0]) or re.search(
        r"Could not override '([^']+)'", lines[0]
    ):
        if unknown[1].startswith("heads.thresholds."):
            return f"{unknown[1]}: no such role; there are {', '.join(catalogue.roles())}"
        return f"{unknown[1]}: no such option; circuitwatch --help lists them"
    if wrong := re.search(r"Error merging override (\S+)", lines[0]):
        return f"{wrong.group(1)}: {str(error.__cause__).splitlines()[0]}"
    key = next(
        (line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")),
        "",
    )
    return f"{key}: {lines[0]}" if key else lines[0]


@dataclass(frozen=True)
class _Before:
    """What there was before a run, so that what it made and did not use can be removed.

    folders: the folder `out`, those above it, and those of its sweeps, models, tasks and seeds.
    """

    out: Path
    sweep: str
    folders: frozenset[Path]

    @classmethod
    def of(cls, arguments: Sequence[str]) -> _Before:
        given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
        out = Path(given.get("out", Config.out).strip("'\"")).expanduser().resolve()
        sweep = given.get("sweep", Config.sweep).strip("'\"")
        there = [path for path in (out, *out.parents) if path.exists()]
        there += [path for depth in range(1, 5) for path in out.glob("/".join(depth * "*"))]
        return cls(out, sweep, frozenset(there))

    def remove_unused(self, cell: Path) -> None:
        """Remove a cell's folder if it has no record and nothing else in it, and those above it
        within `out` if they are empty.
        """
        cell = cell.resolve()
        if self.out not in cell.parents or cell in self.folders:
            return
        checkpoints, own = cell / "checkpoints", {cell / "cell.json", cell / SCHEDULE}
        with suppress(OSError):
            if set(cell.iterdir()) == {checkpoints, *own}:
                checkpoints.rmdir()  # fails where there is a record
                for path in own:
                    path.unlink()
        self._remove_empty((cell, *(above for above in cell.parents if self.out in above.parents)))

    def remove_empty(self) -> None:
        """Remove the sweep's folder, and the folder `out` and those above it, if they are empty."""
        sweep = self.out / self.sweep
        if sweep not in self.folders and sweep.is_dir():
            written = sweep / "multirun.yaml"  # by Hydra
            if list(sweep.iterdir()) == [written]:
                written.unlink()
        self._remove_empty((sweep, self.out, *self.out.parents))

    def _remove_empty(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            if folder in self.folders:
                return
            with suppress(OSError):
                folder.rmdir()
