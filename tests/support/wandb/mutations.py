"""The root of what can be changed in the graph: runs, their files, projects and views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.wandb import runs, views
from support.wandb.artifact_mutations import artifact_mutations
from support.wandb.graphql import Node, Refusal
from support.wandb.store import StoredRun, opaque

if TYPE_CHECKING:
    from support.wandb.world import World


def mutation_root(world: World) -> Node:
    """What can be changed."""
    store = world.store

    def node(run: StoredRun) -> Node | None:
        return world.run(run)

    def upsert_bucket(input: dict[str, Any]) -> Node:
        run, inserted = runs.upsert(store, input)
        bucket = node(run)
        if bucket is not None and store.again != "append":
            bucket.fields["historyLineCount"] = 0  # the line from which the client would go on
        return Node("UpsertBucketPayload", bucket=bucket, inserted=inserted)

    def delete_run(input: dict[str, Any]) -> Node:
        run = store.run_by_storage_id(input["id"])
        if run is None:
            raise Refusal("run not found", 404)
        if input.get("deleteArtifacts"):
            for one in runs.logged(run, store):
                one.state = "DELETED"
        run.deleted = True
        return Node("DeleteRunPayload", clientMutationId=None, success=True)

    def stop_run(input: dict[str, Any]) -> Node:
        run = store.run_by_storage_id(input["id"])
        if run is not None:
            run.stop = True
        return Node("StopRunPayload", success=run is not None, clientMutationId=None)

    def update_run_state(input: dict[str, Any]) -> Node:
        run = store.run_by_storage_id(input["id"])
        if run is not None:
            run.state = input["state"]
        return Node("UpdateRunStatePayload", success=run is not None)

    def create_run_files(input: dict[str, Any]) -> Node:
        run = _run(input)
        files = [
            Node("File", name=name, uploadUrl=runs.file_url(run, name, world))
            for name in input["files"]
        ]
        return Node("CreateRunFilesPayload", runID=run.storage_id, uploadHeaders=[], files=files)

    def mark_uploaded(input: dict[str, Any]) -> Node:
        return Node("MarkRunFilesUploadedPayload", success=bool(_run(input)))

    def delete_files(input: dict[str, Any]) -> Node:
        for run in store.every_run():
            for name in list(run.files):
                if opaque(f"File:{run.id}:{name}") in input["files"]:
                    del run.files[name]
        return Node("DeleteFilesPayload", success=True)

    def alert(input: dict[str, Any]) -> Node:
        _run(input).alerts.append(input)
        return Node("NotifyScriptableRunAlertPayload", success=True)

    def upsert_model(input: dict[str, Any]) -> Node:
        name, entity = input.get("name"), input.get("entityName")
        inserted = store.project(name, entity) is None
        made = world.project(store.made_project(name, entity))
        return Node("UpsertModelPayload", project=made, model=made, inserted=inserted)

    def upsert_view(input: dict[str, Any]) -> Node:
        view, inserted = views.upsert(store, input)
        shown = world.view(view)
        return Node("UpsertViewPayload", view=shown, inserted=inserted)

    def delete_view(input: dict[str, Any]) -> Node:
        found = views.delete(store, input["id"])
        return Node("DeleteViewPayload", success=found, pendingDrafts=[])

    def _run(given: dict[str, Any]) -> StoredRun:
        run = store.live_run(given["projectName"], given["runName"], given["entityName"])
        if run is None:
            raise Refusal("run not found", 404)
        return run

    return Node(
        "Mutation",
        upsertBucket=upsert_bucket,
        deleteRun=delete_run,
        stopRun=stop_run,
        updateRunState=update_run_state,
        createRunFiles=create_run_files,
        markRunFilesUploaded=mark_uploaded,
        deleteFiles=delete_files,
        notifyScriptableRunAlert=alert,
        upsertModel=upsert_model,
        upsertView=upsert_view,
        deleteView=delete_view,
        **artifact_mutations(world),
    )
