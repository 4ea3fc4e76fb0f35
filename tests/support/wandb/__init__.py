"""A stand-in for a W&B server, and a proxy with faults before it."""

from support.wandb.artifacts import ServerArtifact
from support.wandb.proxy import FaultProxy
from support.wandb.server import WandbServer
from support.wandb.store import ServerRun

__all__ = ["FaultProxy", "ServerArtifact", "ServerRun", "WandbServer"]
