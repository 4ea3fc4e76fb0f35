"""When to measure: after so many steps, so many tokens, or each time that steps have doubled."""

from __future__ import annotations

from circuitwatch.checkpoints.schedule import parse_bound
from circuitwatch.errors import UserError
from circuitwatch.limits import shown


class Every:
    """A rule such as 1000, "10M" or "log".

    Args:
        every: a number of steps; a text such as "500steps", or tokens such as "10M", "2e9tokens";
            "log": steps 1, 2, 4, 8, …

    Raises:
        UserError: it is none of these.
    """

    def __init__(self, every: int | str) -> None:
        self._steps: int | None = None
        self._tokens: int | None = None
        if every == "log":
            return
        if isinstance(every, bool) or not isinstance(every, int | str):
            raise _wrong(every)
        try:
            bound = parse_bound(str(every), "every")
        except (UserError, ValueError) as error:  # Python writes no number of 5,000 digits
            raise _wrong(every) from error
        if bound.value < 1 or bound.value != int(bound.value):
            raise _wrong(every)
        if bound.unit == "tokens":
            self._tokens = int(bound.value)
        else:
            self._steps = int(bound.value)

    def is_due(self, step: int, tokens: int, before: tuple[int, int] | None) -> bool:
        """Whether a mark was reached since the step before.

        Args:
            step: the present step.
            tokens: tokens seen by then.
            before: step and tokens when it was asked last; None if it never was: then only a step
                that is itself a mark is due.

        Returns:
            Whether it is due.
        """
        if before is None:
            before = step - 1, tokens  # how many tokens a step has is not known yet
        if self._tokens is not None:
            return tokens // self._tokens > before[1] // self._tokens
        if self._steps is not None:
            return step // self._steps > before[0] // self._steps
        return step.bit_length() > max(before[0], 0).bit_length()


def _wrong(every: object) -> UserError:
    return UserError(
        f"every={shown(every)}: give a number of steps such as 1000, tokens such as '10M', or "
        f"'log' for steps that double"
    )
