"""A path that is missing is said at once, before torch is imported to read what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from circuitwatch.errors import UserError

if TYPE_CHECKING:
    from circuitwatch.config import Config


def require_paths(config: Config) -> None:
    """Raise UserError for a folder of checkpoints that isn't there, unless it is waited for or
    the cell is done without it. The file of a task is read when the configuration is checked.
    """
    from circuitwatch.config import cell_folder

    model = config.model
    if model.source != "folder" or model.path is None or config.follow:
        return
    path = Path(model.path).expanduser()
    if path.is_file():
        raise UserError(f"model.path={model.path}: is a file; give the directory of checkpoints")
    if not path.is_dir() and not (cell_folder(config) / "done.json").is_file():
        raise UserError(f"model.path={path}: no such directory")
