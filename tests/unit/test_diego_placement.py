from __future__ import annotations

from netlab.diego.auctioneer.placement import instances, place
from netlab.diego.messages import LRP, CellState, LRPStartRequest, Resources, Work


def cell(number: int, *running: str, containers: int = 10, memory: int = 1000, evacuating: bool = False) -> CellState:
    return CellState(
        cell_id=f"cell-{number}",
        rep_url=f"https://10.0.2.{number}:1801",
        evacuating=evacuating,
        available=Resources(memory_mb=memory, disk_mb=1000, containers=containers),
        total=Resources(memory_mb=1000, disk_mb=1000, containers=10),
        lrps=[LRP(process_guid=guid, index=0, domain="cf-apps") for guid in running],
    )


def lrps(process_guid: str, count: int, memory: int = 100) -> list[LRP]:
    request = LRPStartRequest(process_guid=process_guid, domain="cf-apps", indices=list(range(count)), memory_mb=memory)
    return instances([request])


def placed(work: dict[str, list[LRP]]) -> dict[str, list[str]]:
    return {cell_id: sorted(str(lrp) for lrp in given) for cell_id, given in work.items()}


def test_the_instances_of_an_app_are_spread_over_cells() -> None:
    placement = place(lrps("web", 4), [cell(1), cell(2)])
    assert placed(placement.work) == {"cell-1": ["web/0", "web/2"], "cell-2": ["web/1", "web/3"]}
    assert placement.failed == []


def test_spreading_counts_for_more_than_load() -> None:
    placement = place(lrps("web", 1), [cell(1, "web"), cell(2, "a", "b", "c", memory=300, containers=2)])
    assert list(placement.work) == ["cell-2"]


def test_among_equals_the_least_loaded_cell_is_taken() -> None:
    placement = place(lrps("web", 1), [cell(1, "a", memory=500), cell(2, "b", memory=900)])
    assert list(placement.work) == ["cell-2"]


def test_what_has_been_placed_counts_as_load() -> None:
    placement = place([*lrps("a", 1), *lrps("b", 1), *lrps("c", 1), *lrps("d", 1)], [cell(1), cell(2)])
    assert [len(given) for given in placement.work.values()] == [2, 2]


def test_a_full_or_evacuating_cell_takes_nothing() -> None:
    placement = place(lrps("web", 3), [cell(1, containers=1), cell(2, evacuating=True)])
    assert placed(placement.work) == {"cell-1": ["web/0"]}
    assert [(str(lrp), why) for lrp, why in placement.failed] == [
        ("web/1", "insufficient resources: containers"),
        ("web/2", "insufficient resources: containers"),
    ]


def test_the_reason_names_what_is_short() -> None:
    (_, why) = place(lrps("web", 1, memory=800), [cell(1, memory=700), cell(2, memory=100)]).failed[0]
    assert why == "insufficient resources: memory"
    (_, why) = place(lrps("web", 1), []).failed[0]
    assert why == "found no cell that answers"


def test_the_first_of_each_app_comes_before_the_second_of_any() -> None:
    placement = place([*lrps("a", 2), *lrps("b", 2)], [cell(1, containers=2)])
    assert placed(placement.work) == {"cell-1": ["a/0", "b/0"]}


def test_an_instance_asked_for_twice_is_placed_once() -> None:
    request = LRPStartRequest(process_guid="web", domain="cf-apps", indices=[0, 1])
    assert [lrp.index for lrp in instances([request, request])] == [0, 1]


def test_the_names_on_the_wire_are_diegos() -> None:
    state = cell(1, "web").model_dump(by_alias=True)
    assert state["AvailableResources"] == {"MemoryMB": 1000, "DiskMB": 1000, "Containers": 10}
    assert state["LRPs"][0]["process_guid"] == "web"
    assert CellState.model_validate(state) == cell(1, "web")
    work = Work.model_validate({"CellID": "cell-1", "LRPs": [{"process_guid": "web", "index": 1, "domain": "d"}]})
    assert (work.cell_id, str(work.lrps[0])) == ("cell-1", "web/1")
