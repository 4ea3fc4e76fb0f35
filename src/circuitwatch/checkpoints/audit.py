"""Published revisions can be wrong: which ones are missing, and which ones have the same weights as
another.

Of revisions with equal weights one is kept and the others are called its duplicates: the model's
last step if it is among them, since the known mistake is that a revision serves the final weights
(reported for 86 of 154 revisions of pythia-2.8b); else the first (steps 0 to 2 of some models are
equal because the warm-up had not moved half-precision weights). What is on record stays as it was
recorded: a checkpoint that comes later and has its weights is its duplicate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rich.table import Table

from circuitwatch.checkpoints.files import weight_files, weights_sha256
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.progress import STYLE
from circuitwatch.units import counted, format_tokens


@dataclass(frozen=True)
class Weights:
    """A checkpoint's weight files: their kind (safetensors or bin), bytes, SHA-256 (none where the
    hub's listing has none before the download).

    identities: one hash for each kind of file that the checkpoint has; two checkpoints are equal if
    they share one.
    """

    kind: str
    size: int
    sha256: str | None
    identities: frozenset[str]

    @classmethod
    def of_folder(cls, folder: Path) -> Weights:
        """Of a checkpoint on disk that has weights; reads them to hash them."""
        files, digest = weight_files(folder), weights_sha256(folder)
        size = sum(path.stat().st_size for path in files)
        return cls(files[0].suffix.lstrip("."), size, digest, frozenset([digest]))

    @classmethod
    def of_record(cls, sha256: str) -> Weights:
        """Of a checkpoint whose record has the hash; its files may be gone."""
        return cls("", 0, sha256, frozenset([sha256]))


@dataclass(frozen=True)
class OnRecord:
    """What a record says of its checkpoint's weights: their SHA-256 if it was known, and whether
    they were called another's.
    """

    sha256: str | None
    is_duplicate: bool


RecordedWeights = Mapping[int, OnRecord]
"""Step → what its record says of its weights."""
NO_RECORDS: RecordedWeights = MappingProxyType({})


@dataclass(frozen=True)
class Audit:
    """What is known before weights are fetched.

    weights: step → its files. missing: step → why. duplicate_of: step → the revision kept instead.
    """

    weights: Mapping[int, Weights]
    missing: Mapping[int, str]
    duplicate_of: Mapping[int, str]

    @classmethod
    def of(
        cls,
        checkpoints: Sequence[Checkpoint],
        weights: Mapping[int, Weights],
        missing: Mapping[int, str],
        recorded: RecordedWeights = NO_RECORDS,
    ) -> Audit:
        """Find the duplicates among some checkpoints, ascending by step, of which some may be on
        record already.
        """
        names = {checkpoint.step: checkpoint.revision for checkpoint in checkpoints}

        def worth(step: int) -> tuple[int, bool, int]:
            on_record = recorded.get(step)
            rank = 1 if on_record is None else 2 if on_record.is_duplicate else 0
            return rank, step != checkpoints[-1].step, step

        kept: dict[str, int] = {}
        duplicate_of: dict[int, str] = {}
        for step in sorted(weights, key=worth):
            identities = weights[step].identities
            original = min(
                (kept[identity] for identity in identities if identity in kept),
                key=worth,
                default=step,
            )
            for identity in identities:
                kept.setdefault(identity, original)
            if original != step:
                duplicate_of[step] = names[original]
        return cls(weights, missing, duplicate_of)


def audit_table(name: str, checkpoints: Sequence[Checkpoint], audit: Audit) -> Table:
    """One row a checkpoint: tokens, size and hash of its weights, and what is wrong with it."""
    weights = audit.weights.values()
    caption = (
        f"{counted(len(checkpoints), 'checkpoint')}, {len(audit.missing)} missing, "
        f"{counted(len(audit.duplicate_of), 'duplicate')}, "
        f"{sum(w.size for w in weights) / 1e9:.2f} GB of weights"
    )
    table = Table(title=f"weights of {name}", caption=caption, **STYLE)
    for column in ("step", "revision", "tokens", "files", "MB", "SHA-256", "finding"):
        table.add_column(
            column, justify="right" if column in ("step", "tokens", "MB") else "left", no_wrap=True
        )
    for checkpoint in checkpoints:
        row = [str(checkpoint.step), checkpoint.revision, format_tokens(checkpoint.tokens)]
        if files := audit.weights.get(checkpoint.step):
            row += [files.kind, f"{files.size / 1e6:.1f}", (files.sha256 or "?")[:16]]
            original = audit.duplicate_of.get(checkpoint.step)
            row.append(f"same weights as {original}" if original else "")
        else:
            row += ["", "", "", f"missing: {audit.missing.get(checkpoint.step, 'unknown')}"]
        table.add_row(*row)
    return table
