"""The options of what head roles are measured on, and of when a head holds one."""

from __future__ import annotations

from dataclasses import dataclass

from circuitwatch import catalogue
from circuitwatch.errors import UserError
from circuitwatch.limits import (
    MOST_LENGTH,
    MOST_LOSS_LENGTH,
    MOST_NEIGHBOURS,
    MOST_PROMPTS,
    MOST_SEQUENCES,
)
from circuitwatch.names import plain_path
from circuitwatch.options import option, require_share


def role_thresholds() -> dict[str, float]:
    """Role → the score from which it is held, as its file has it."""
    return {name: role.threshold for name, role in catalogue.roles().items()}


def thresholds(by_role: dict[str, float], key: str) -> None:
    """Raise UserError unless the names are those of roles, and the scores are in (0, 1]."""
    for role, score in by_role.items():
        if role not in catalogue.roles():
            names = ", ".join(catalogue.roles())
            raise UserError(f"{key}.{role}: no such role; choose one of {names}")
        require_share(score, f"{key}.{role}")


@dataclass
class HeadsConfig:
    """What head roles are measured on, and from when a head holds one."""

    length: int = option(
        "Tokens of the random segment that is repeated", 12, least=3, most=MOST_LENGTH
    )
    n_sequences: int = option("Repeated segments", 16, least=1, most=MOST_SEQUENCES)
    n_prompts: int = option(
        "IOI prompts for the name-mover scores, whatever task is watched",
        64,
        least=1,
        most=MOST_PROMPTS,
    )
    text: str | None = option(
        "Plain text that copy suppression, attention sinks, the loss and in-context learning are "
        "measured on; null: English prose that comes with circuitwatch (some 2,800 tokens), for "
        "nano models sentences of their corpus' kind that none was trained on",
        None,
        check=plain_path,
    )
    n_texts: int = option(
        "Pieces of that text: half for the mean that ablates a head, half to measure the effect on",
        16,
        least=2,
        most=MOST_SEQUENCES,
    )
    text_length: int = option("Tokens of a piece", 32, least=8, most=MOST_LENGTH)
    loss_length: int = option(
        "Tokens of a piece that the loss and in-context learning are measured on; models with a "
        "shorter context get shorter pieces. Of the text as many are taken as it has, up to "
        "heads.n_texts",
        128,
        least=20,
        most=MOST_LOSS_LENGTH,
    )
    n_destinations: int = option(
        "Positions of the text at which the effect on the output distribution is measured",
        48,
        least=1,
        most=MOST_SEQUENCES,
    )
    semantic_set: int = option(
        "Tokens that count as the attended one in copy suppression: itself and those with the "
        "nearest unembeddings",
        5,
        least=1,
        most=MOST_NEIGHBOURS,
    )
    predicted_share: float = option(
        "Share of the attended tokens, those predicted most, whose suppression copy suppression "
        "keeps (McDougall et al., 2310.04625)",
        0.05,
        share=True,
    )
    min_effect: float = option(
        "Share of the behaviour that patching a head must take or give for its role to count as "
        "confirmed",
        0.02,
        share=True,
    )
    curves: str = option(
        "Heads that a role's curve is the maximum over, of several tasks' cells one in which the "
        "role can be confirmed",
        "all",
        choices={
            "all": "",
            "circuit": "those in the checkpoint's circuit, name movers with an edge to the logits, "
            "as in the code of Tigges et al., 2407.10827; without a circuit there is no value",
        },
    )
    patch: str = option(
        "How C and D of IOI patch heads",
        "together",
        choices={
            "together": "several as one",
            "each": "by itself, sizes of effects being added, as Tigges et al., 2407.10827, do",
        },
    )
    d_inputs: str = option(
        "Which inputs of the S-inhibition heads D of IOI is about",
        "keys_and_values",
        choices={"keys_and_values": "", "values": "alone, as in the code of Tigges et al."},
    )
    thresholds: dict[str, float] = option(  # noqa: RUF009
        "Scores from which a head (or MLP) holds a role, above 0, at most 1; see below",
        factory=role_thresholds,
        check=thresholds,
    )

    def threshold(self, role: str) -> float:
        """The score from which a role is held: as given, else as its file has it.

        Raises KeyError for a role that is in neither.
        """
        given = self.thresholds.get(role)
        return catalogue.roles()[role].threshold if given is None else float(given)
