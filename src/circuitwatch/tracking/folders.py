"""Takes the folders of this machine out of what is sent: those that the cells' options name, the
one that the sweep is in, and the home.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from circuitwatch.tracking.identity import PATHS


class Folders:
    """What is not to be sent.

    headers: of cells, whose options name folders; sweep: the folder that the cells are in, if any.
    """

    def __init__(self, headers: Iterable[Mapping[str, Any]], sweep: Path | None = None) -> None:
        said = {
            str(part[name])
            for header in headers
            for group, names in PATHS.items()
            for part in (header["config"].get(group) if group else header["config"],)
            for name in names
            if isinstance(part, Mapping) and part.get(name)
        }
        if sweep is not None:
            said |= {str(sweep.parent), str(sweep.absolute().parent)}
        said |= {str(Path(path).expanduser().absolute()) for path in said if path[:1] in "/~"}
        # A single word is no folder that says anything, and may stand in any sentence.
        named = [path.rstrip("/") for path in said if len(Path(path).parts) > 1]
        self._named = sorted(named, key=len, reverse=True)
        self._home = str(Path.home())

    def out_of(self, content: Any) -> Any:
        """The same without them, of texts in lists and dictionaries too: what lies in a folder is
        called as seen from there.
        """
        if isinstance(content, Mapping):
            return {key: self.out_of(value) for key, value in content.items()}
        if isinstance(content, list | tuple):
            return [self.out_of(value) for value in content]
        return self._out_of_text(content) if isinstance(content, str) else content

    def _out_of_text(self, text: str) -> str:
        for path in self._named:
            for written in _as_written(path):
                text = text.replace(f"{written}/", "").replace(written, Path(path).name)
        if len(Path(self._home).parts) > 1:
            for written in _as_written(self._home):
                text = text.replace(f"{written}/", "~/")
        return text


def _as_written(path: str) -> list[str]:
    """A path as it stands in text, in JSON and in HTML."""
    return list(dict.fromkeys([path, json.dumps(path)[1:-1], html.escape(path)]))
