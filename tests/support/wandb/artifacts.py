"""Artifacts: how a version comes to be, file by file and manifest, which aliases it has, and how it
is found again.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from support.wandb.graphql import Refusal
from support.wandb.store import Project, Sequence, Store, StoredArtifact, now, opaque


@dataclass(frozen=True)
class ServerArtifact:
    """A version of an artifact with the contents of its files by their paths."""

    name: str
    type: str
    version: str
    files: dict[str, bytes]
    metadata: dict[str, Any]
    aliases: list[str]


def shown(artifact: StoredArtifact, store: Store) -> ServerArtifact:
    """The artifact as it is now, for those without the lock."""
    files = {
        path: store.blobs[hexadecimal(entry["digest"])]
        for path, entry in entries(artifact).items()
        if hexadecimal(entry["digest"]) in store.blobs
    }
    metadata = json.loads(artifact.metadata or "{}")
    version = f"v{artifact.index}"
    name, kind = artifact.sequence.name, artifact.type
    return ServerArtifact(name, kind, version, files, metadata, list(artifact.aliases))


def entries(artifact: StoredArtifact) -> dict[str, dict[str, Any]]:
    """What the manifest says of each file: its digest, its size."""
    return dict(json.loads(artifact.manifest or b"{}").get("contents", {}))


def version(sequence: Sequence, alias: str) -> StoredArtifact | None:
    """The version that an alias or `v0` means."""
    for one in sequence.committed():
        if alias in (*one.aliases, f"v{one.index}", one.id):
            return one
    return None


def by_name(project: Project, name: str) -> StoredArtifact | None:
    """The artifact `name:alias` of a project."""
    name, _, alias = name.partition(":")
    sequence = project.sequences.get(name)
    return version(sequence, alias or "latest") if sequence else None


def create(store: Store, given: dict[str, Any]) -> StoredArtifact:
    """A new version, not committed yet; or the one that has this very content."""
    project = store.made_project(given.get("projectName"), given.get("entityName"))
    (name,) = given.get("artifactCollectionNames") or [given["artifactCollectionName"]]
    kind = given["artifactTypeName"]
    sequence = project.sequences.get(name)
    if sequence is None:
        number = next(store.numbers)
        sequence = Sequence(
            opaque(f"ArtifactCollection:{number}"),
            name,
            kind,
            project,
            now(),
            given.get("sequenceClientID"),
        )
        project.sequences[name] = sequence
    if sequence.type != kind:
        raise Refusal(f"artifact {name} is of type {sequence.type}, not {kind}", 409)
    aliases = [one["alias"] for one in given.get("aliases") or []]
    for one in sequence.committed():
        if given.get("enableDigestDeduplication") and one.digest == given["digest"]:
            name_it(one, aliases)
            return one
    artifact = StoredArtifact(
        opaque(f"Artifact:{next(store.numbers)}"),
        kind,
        sequence,
        given["digest"],
        run=store.live_run(given.get("projectName"), given.get("runName"), given.get("entityName")),
        client_id=given.get("clientID"),
        description=given.get("description"),
        metadata=given.get("metadata"),
        aliases=aliases,
        tags=[one["tagName"] for one in given.get("tags") or []],
        created=now(),
        history_step=given.get("historyStep"),
    )
    sequence.versions.append(artifact)
    return artifact


def commit(artifact: StoredArtifact) -> None:
    """Make a version one that others see; it is the next one of its name."""
    if artifact.state == "COMMITTED":
        return
    artifact.index = sum(one.index is not None for one in artifact.sequence.versions)
    artifact.state = "COMMITTED"
    artifact.size = sum(entry.get("size", 0) for entry in entries(artifact).values())
    name_it(artifact, artifact.aliases)


def name_it(artifact: StoredArtifact, aliases: list[str]) -> None:
    """Give a version aliases, which other versions of the name lose."""
    for other in artifact.sequence.versions:
        if other is not artifact:
            other.aliases = [alias for alias in other.aliases if alias not in aliases]
    artifact.aliases = [*dict.fromkeys([*artifact.aliases, *aliases])]


def hexadecimal(digest: str) -> str:
    """The hexadecimal form of a digest in base64."""
    return base64.b64decode(digest).hex()
