"""The JSON bodies between BBS, auctioneer and reps, with the field names of Diego."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Message(BaseModel):
    model_config = ConfigDict(populate_by_name=True)


class Resource(_Message):
    """What one instance takes of a cell; 0 is nothing."""

    memory_mb: int = Field(default=0, validation_alias="MemoryMB", serialization_alias="MemoryMB")
    disk_mb: int = Field(default=0, validation_alias="DiskMB", serialization_alias="DiskMB")
    max_pids: int = Field(default=0, validation_alias="MaxPids", serialization_alias="MaxPids")


class LRPStartRequest(Resource):
    """Instances of one process to be placed: `POST /v1/lrps` of the auctioneer takes a list of these."""

    process_guid: str
    domain: str
    indices: list[int]
    root_fs: str = Field(default="", validation_alias="RootFs", serialization_alias="RootFs")


class LRP(Resource):
    """One instance, as a rep is asked to run it or reports it."""

    process_guid: str
    index: int
    domain: str
    instance_guid: str = ""
    root_fs: str = Field(default="", validation_alias="RootFs", serialization_alias="RootFs")

    def __str__(self) -> str:
        return f"{self.process_guid}/{self.index}"


class Resources(_Message):
    """What a cell has, or has left."""

    memory_mb: int = Field(validation_alias="MemoryMB", serialization_alias="MemoryMB")
    disk_mb: int = Field(validation_alias="DiskMB", serialization_alias="DiskMB")
    containers: int = Field(validation_alias="Containers", serialization_alias="Containers")


class CellState(_Message):
    """The answer to a rep's `GET /state`."""

    cell_id: str
    rep_url: str
    zone: str = ""
    evacuating: bool = Field(default=False, validation_alias="Evacuating", serialization_alias="Evacuating")
    available: Resources = Field(validation_alias="AvailableResources", serialization_alias="AvailableResources")
    total: Resources = Field(validation_alias="TotalResources", serialization_alias="TotalResources")
    starting: int = Field(
        default=0, validation_alias="StartingContainerCount", serialization_alias="StartingContainerCount"
    )
    lrps: list[LRP] = Field(default=[], validation_alias="LRPs", serialization_alias="LRPs")


class Work(_Message):
    """What a rep is asked to do (`POST /work`); its answer is the part that it cannot do."""

    cell_id: str = Field(default="", validation_alias="CellID", serialization_alias="CellID")
    lrps: list[LRP] = Field(default=[], validation_alias="LRPs", serialization_alias="LRPs")
