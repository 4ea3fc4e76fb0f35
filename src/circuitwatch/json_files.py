"""JSON files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from circuitwatch.errors import UserError


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds an object. Raises UserError if it doesn't."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged: not JSON; delete {path.parent} and run again") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror or error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: damaged: not a JSON object; delete {path.parent} and run again")
    return content


def write_json(path: Path, content: Any) -> None:
    """Replace a file in one motion."""
    partial = path.with_name(path.name + ".partial")
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    try:
        partial.write_text(text, encoding="utf-8")
        sync(partial)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Make sure that a file, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
