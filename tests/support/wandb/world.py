"""The graph as a client sees it: what is stored, and the name the client has for the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from support.wandb import projects, runs, views
from support.wandb.graphql import Node
from support.wandb.mutations import mutation_root
from support.wandb.queries import query_root
from support.wandb.store import Project, Store, StoredRun


@dataclass(frozen=True)
class World:
    """Makes the nodes that nodes of several kinds lead to. `url` is how the client names this
    server, be it behind a proxy.
    """

    store: Store
    url: str

    def roots(self) -> dict[str, Node]:
        """Where a document starts, by what it is."""
        return {"query": query_root(self), "mutation": mutation_root(self)}

    def project(self, project: Project) -> Node:
        return projects.project_node(project, self)

    def run(self, run: StoredRun | None) -> Node | None:
        """A run of any project, unless it is deleted."""
        return None if run is None or run.deleted else runs.run_node(run, self)

    def view(self, view: dict[str, Any]) -> Node:
        return views.view_node(view, self)
