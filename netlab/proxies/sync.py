"""Whether each Envoy has what Pilot sent it: a pure judgement of Pilot's `/debug/syncz`, in Istio's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from netlab.proxies.find import Envoy

SYNCED: Final = "SYNCED"
NOT_SENT: Final = "NOT SENT"
STALE: Final = "STALE"
ERROR: Final = "ERROR"
ABSENT: Final = "ABSENT"


def judge(envoys: Iterable[Envoy], syncz: Iterable[Mapping[str, Any]], types: Sequence[str]) -> list[dict[str, Any]]:
    """One object an Envoy: `node`, `kind`, `app`, `proxy` (its node id, or None), `states` and `errors` by type.

    A state is SYNCED (the last that was sent was accepted), NOT SENT (there was nothing to send), STALE (not answered
    yet), ERROR (refused, with Envoy's reason among `errors`) or ABSENT (not connected to Pilot). `types` are those of
    Pilot, as `cds`.
    """
    by_address = {(proxy["type"], proxy["proxy"].split("~")[1]): proxy for proxy in syncz}
    return [_judged(envoy, by_address.get((envoy.kind, envoy.address)), types) for envoy in envoys]


def synced(judged: Mapping[str, Any]) -> bool:
    """Whether nothing is left to be done or mended for this Envoy."""
    return all(state in (SYNCED, NOT_SENT) for state in judged["states"].values())


def _judged(envoy: Envoy, proxy: Mapping[str, Any] | None, types: Sequence[str]) -> dict[str, Any]:
    known = {"node": envoy.node, "kind": envoy.kind, "app": envoy.app}
    if proxy is None:
        return {**known, "proxy": None, "states": dict.fromkeys(types, ABSENT), "errors": {}}
    return {
        **known,
        "proxy": proxy["proxy"],
        "connected_at": proxy["connected_at"],
        "last_push_ms": proxy["last_push_ms"],
        "states": {kind: _state(proxy, kind) for kind in types},
        "errors": proxy["errors"],
        "sent": proxy["sent"],
    }


def _state(proxy: Mapping[str, Any], kind: str) -> str:
    if kind in proxy["errors"]:
        return ERROR
    if not proxy[f"{kind}_sent"]:
        return NOT_SENT
    return SYNCED if proxy[f"{kind}_sent"] == proxy[f"{kind}_acked"] else STALE
