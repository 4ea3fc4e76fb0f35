"""How long each part of a checkpoint's analysis took, told from what the analysis says it is doing.

The parts, in order: `fetching` the weights (waiting for them, where they are fetched ahead),
`loading` them, `heads` (roles and quantities of the model), `behaviour`, `scores` of the edges, the
`circuit`, those of resampled prompts (`resamples`) and path `patching`. Their sum is `total`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PARTS = {
    "loading": "loading",
    "heads": "heads",
    "behaviour": "behaviour",
    "scoring edges": "scores",
    "circuit of resampled": "resamples",
    "circuit": "circuit",
    "path patching": "patching",
}
"""How what is said begins → the part that begins with it; anything else belongs to the part before.
"""


class Stopwatch:
    """Passes on what is said, and notes when.

    say: told what is done, as before; clock: seconds.
    """

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._say, self._clock = say, clock
        self._taken: dict[str, float] = {}
        self._part, self._since = "fetching", clock()

    def __call__(self, what: str) -> None:
        """Say what is done now."""
        part = next((part for words, part in PARTS.items() if what.startswith(words)), self._part)
        if part != self._part:
            self._note(part)
        self._say(what)

    def seconds(self) -> dict[str, float]:
        """Seconds of each part so far, to the millisecond, and in `total`."""
        self._note(self._part)
        taken = {part: round(seconds, 3) for part, seconds in self._taken.items()}
        return taken | {"total": round(sum(self._taken.values()), 3)}

    def _note(self, part: str) -> None:
        now = self._clock()
        self._taken[self._part] = self._taken.get(self._part, 0.0) + now - self._since
        self._part, self._since = part, now
