"""An option of the configuration: its help and what it may be, in the metadata of its dataclass
field, so that `--help` and validation read the same facts.

    threshold: float = option("Share of the behaviour that a circuit must reach", 0.8, share=True)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from omegaconf import MISSING

from circuitwatch.errors import UserError, meant
from circuitwatch.limits import MOST_TEXT, require_whole, shown

METADATA = "circuitwatch.option"


@dataclass(frozen=True)
class Option:
    """What is known of an option beside its type.

    help: what it is, without a period at the end. choices: the values there are, each with its
    meaning, empty where the value says it. least and most: the bounds of a whole number, or of each
    of a list. share: whether it is in (0, 1]. check: called with the value and the option's key,
    raises UserError for what can't be. written: what people write instead of the field's name.
    default: MISSING where there is none.

    None (null in YAML) passes, since only a type that allows it lets it come this far.
    """

    help: str
    choices: Mapping[Any, str]
    least: float | None
    most: float | None
    share: bool
    check: Callable[[Any, str], object] | None
    written: str | None
    default: Any

    def explained(self) -> str:
        """The help with the choices, and in brackets the default and the bounds."""
        of_each = [
            f"{value} ({meaning})" if meaning else f"{value}"
            for value, meaning in self.choices.items()
        ]
        facts = [] if self.default in (MISSING, None) else [str(self.default)]
        facts += [f"at least {self.least:.0f}"] if self.least is not None else []
        facts += [f"at most {self.most:.0f}"] if self.most is not None else []
        facts += ["above 0, at most 1"] if self.share else []
        text = f"{self.help}: {', '.join(of_each)}" if of_each else self.help
        return f"{text}  [{'; '.join(facts)}]" if facts else text

    def require(self, value: Any, key: str) -> None:
        """Raise UserError with the key, the value and what would be right, unless it is right."""
        if value is None:
            return
        if self.check is None and isinstance(value, str) and len(value) > MOST_TEXT:
            raise UserError(f"{key}={shown(value)}: must have at most {MOST_TEXT} characters")
        if self.choices:
            require_choice(value, key, self.choices)
        if self.least is not None or self.most is not None:
            for one in value if isinstance(value, list) else [value]:
                require_whole(one, key, self.least, self.most)
        if self.share:
            require_share(value, key)
        if self.check is not None:
            self.check(value, key)


def require_choice(value: Any, key: str, choices: Collection[Any]) -> None:
    """Raise UserError unless a value is one of the choices."""
    if value not in choices:
        known = [str(choice) for choice in choices]
        hint = meant(shown(value), known)
        listed = f"choose one of {', '.join(known) or 'none'}"
        said = f"{listed}; {hint.strip()}" if hint else listed
        raise UserError(f"{key}={shown(value)}: {said}")


def require_share(value: float, key: str) -> None:
    """Raise UserError unless a value is in (0, 1]."""
    if not 0 < value <= 1:
        raise UserError(f"{key}={value}: must be above 0 and at most 1, e.g. 0.8")


def option(
    help: str,
    default: Any = MISSING,
    *,
    factory: Callable[[], Any] | None = None,
    choices: Mapping[Any, str] | Sequence[Any] = (),
    least: float | None = None,
    most: float | None = None,
    share: bool = False,
    check: Callable[[Any, str], object] | None = None,
    written: str | None = None,
) -> Any:
    """A dataclass field that is an option; the arguments are those of `Option`, choices that need
    no meaning as a sequence.
    """
    meanings = choices if isinstance(choices, Mapping) else dict.fromkeys(choices, "")
    spec = Option(help, meanings, least, most, share, check, written, default)
    metadata = {METADATA: spec}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def options_of(kind: type, prefix: str = "") -> Iterator[tuple[str, Option]]:
    """Key and option of every field of a configuration's dataclass, those of the dataclasses in it
    after its own.
    """
    parts = []
    for one in fields(kind):
        if METADATA in one.metadata:
            yield f"{prefix}{one.name}", one.metadata[METADATA]
            continue
        part: Any = one.default_factory
        if is_dataclass(part):
            parts.append((f"{prefix}{one.name}.", part))
    for name, part in parts:
        yield from options_of(part, name)


def as_written(key: str, spec: Option) -> str:
    """The key of an option as people write it."""
    return key if spec.written is None else f"{key.rpartition('.')[0]}.{spec.written}"


def check_options(config: Any) -> None:
    """Raise UserError for the first option of a configuration that can't have its value."""
    for key, spec in options_of(type(config)):
        spec.require(value_of(config, key), as_written(key, spec))


def value_of(config: Any, key: str) -> Any:
    """The value at a key such as `circuit.threshold`."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value
