"""What a lab holds of containers, each thing by the container it belongs to: to be the same as the BBS's records."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from netlab.diego.bbs_client import BbsClient
from netlab.kernel import netns, observe, rules
from netlab.lab.api import Lab
from netlab.lab.mesh import BBS
from netlab.lab.paths import LabPaths
from netlab.tls import TlsFiles


async def instances(lab: Lab) -> dict[str, str]:
    """The state of every actual LRP of the BBS, by instance guid; one without a container has its key instead.

    To be called where the lab's deployment network is reached.
    """
    url = f"https://{lab.state['nodes']['diego-api']['address']}:{BBS}"
    context = TlsFiles.of(LabPaths(lab.name).tls, "capi").client_context()
    bbs = BbsClient(url, context, logging.getLogger("remains"))
    try:
        found = await bbs.actual_on("")
    finally:
        await bbs.aclose()
    return {
        lrp.actual_lrp_instance_key.instance_guid or f"{lrp.actual_lrp_key.process_guid}/{lrp.actual_lrp_key.index}": (
            lrp.state
        )
        for lrp in found
    }


def of_containers(lab: Lab) -> dict[str, set[str]]:
    """Everything on the machine that belongs to a container, as instance guids by kind.

    What belongs to no container that has a record stands under its own name, so that it is equal to nothing.
    """
    records = lab.containers()
    paths = LabPaths(lab.name)
    kinds: dict[str, set[str]] = {
        "records": {record["instance_guid"] for record in records},
        "namespaces": _namespaces(lab, paths, records),
        "folders": {path.name for path in paths.containers.iterdir() if path.is_dir()},
        "names": _names(paths, records),
        "cgroups": {path.name.removeprefix("container-") for path in Path(lab.state["cgroup"]).glob("container-*")},
        "links": set(),
        "chains": set(),
        "rules": set(),
    }
    backend = rules.backend()
    for name, node in lab.state["nodes"].items():
        if node["kind"] != "cell":
            continue
        namespace = lab.namespace(name)
        here = [record for record in records if record["cell"] == name]
        devices = {_device(record["address"]): record["instance_guid"] for record in here}
        chains = {f"netin--{record['instance_guid']}"[:28]: record["instance_guid"] for record in here}
        kinds["links"] |= {devices.get(link, link) for link in _links(namespace) if link.startswith("s-")}
        installed = [entry.rule for entry in backend.list(namespace, "nat")]
        kinds["chains"] |= {chains.get(rule.chain, rule.chain) for rule in installed if rule.target == "DNAT"}
        jumps = {rule.target for rule in installed if rule.chain == "PREROUTING" and rule.target}
        kinds["rules"] |= {chains.get(target, target) for target in jumps}
    return kinds


def _namespaces(lab: Lab, paths: LabPaths, records: list[dict[str, Any]]) -> set[str]:
    vms = {node["namespace"] for node in lab.state["nodes"].values()} | {paths.namespace("fabric")}
    owners = {record["namespace"]: record["instance_guid"] for record in records}
    mounted = {path.name for path in paths.namespaces.iterdir()}
    mounted |= {path.name for path in netns.NETNS_DIR.iterdir() if _target(path).parent == paths.namespaces}
    return {owners.get(name, name) for name in mounted - vms}


def _names(paths: LabPaths, records: list[dict[str, Any]]) -> set[str]:
    """Who holds a name; a container whose name was taken has a bit of its guid in it, and no file."""
    held = {_target(path).name for path in paths.containers.glob("*.name")}
    guids = {record["instance_guid"]: record["node"] for record in records}
    return held | {guid for guid, node in guids.items() if node.endswith(f"-{guid[:4]}")}


def _target(path: Path) -> Path:
    """Where a symlink leads; that of one that is no more, or is none, is nowhere."""
    try:
        return path.readlink()
    except OSError:
        return Path()


def _links(namespace: Path) -> list[str]:
    def work() -> list[str]:
        netns.enter(namespace)
        return [link.name for link in observe.links()]

    return netns.in_thread(work)


def _device(address: str) -> str:
    return "s-" + "".join(f"{int(octet):03}" for octet in address.split("."))
