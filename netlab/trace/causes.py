"""Why a request did not get further, in words: what the evidence says about the place where its path ends. Pure."""

from __future__ import annotations

from collections.abc import Callable

from netlab.trace import pieces
from netlab.trace.case import Case, Cause
from netlab.trace.configured import described
from netlab.trace.evidence import host, port
from netlab.trace.path import Leg, Observed

_REFUSING = frozenset({"DROP", "REJECT"})


def find(case: Case) -> Cause:
    """The cause that belongs to the place where the observed path ends or leaves the declared one."""
    for look in (_dropped_by_rule, _wrong_instance, _no_instance, *_BY_PLACE[_place(case.observed)]):
        cause = look(case)
        if cause is not None:
            return cause
    return _lost_after(case)


def _place(observed: Observed) -> str:
    """The last kind of node that the request came to."""
    return next((hop.kind for hop in reversed(observed.hops) if hop.kind != "dnat"), "client")


def retried(case: Case) -> Cause | None:
    """Why a connection to an instance of the route failed before another one served the request."""
    for leg in case.observed.failed:
        way = case.declared.way_behind(leg.destination)
        places = [(way.instance.node, leg), (way.instance.cell, leg)] if way else []
        router = case.observed.router or ""
        by_rule = _dropped_by_rule(case, [*places, (router, leg)])
        to = f"{leg.destination} ({way.instance.node})" if way else leg.destination
        how = "was refused" if case.refused(router, leg.source) else "got no answer"
        text = f"{router} first tried {to} and {how}, then went elsewhere"
        if by_rule is not None:
            return Cause(f"{text}: {by_rule.text}", by_rule.hint)
        return Cause(text, f"netlab status; netlab logs {way.instance.node if way else router}")
    return None


def _dropped_by_rule(case: Case, places: list[tuple[str, Leg]] | None = None) -> Cause | None:
    """A rule that drops or rejects was the last thing that a first packet met somewhere."""
    for node, leg in _legs(case.observed) if places is None else places:
        steps = [
            step
            for step in case.evidence.steps
            if (step.node, step.source) == (node, leg.source)
            and step.kind in ("rule", "policy")
            and step.origin != "tap"
        ]
        if not steps:
            continue
        last = steps[-1]
        rule = pieces.find_rule(case.evidence.rules.get(node, []), last) if last.kind == "rule" else None
        if last.verdict == "DROP" and rule is None:
            text = f"{last.kind} of chain {last.chain} in table {last.table} on {node} drops the packet"
            return Cause(text, f"netlab exec {node} -- nft list ruleset", dropped=True)
        if rule is not None and rule.rule.target in _REFUSING:
            verb = "drops" if rule.rule.target == "DROP" else "rejects"
            hint = f"netlab exec {node} -- iptables-legacy -t {rule.rule.table} -D {rule.rule.chain} {rule.number}"
            return Cause(f"{described(rule)} on {node} {verb} the packet: {rule.rule}", hint, dropped=True)
    return None


def _legs(observed: Observed) -> list[tuple[str, Leg]]:
    """Each node on the way with the leg that came to it, the last one first."""
    found: list[tuple[str, Leg]] = []
    for leg, kinds in (
        (observed.mesh_leg, ("container", "cell", "ingress-envoy")),
        (observed.client_leg, ("ingress-envoy", "lb", "client")),
    ):
        if leg is not None:
            found += [(hop.node, leg) for kind in kinds if (hop := observed.hop(kind)) is not None]
    return found


def _wrong_instance(case: Case) -> Cause | None:
    node = case.observed.container
    if node is None or case.declared.way(node) is not None:
        return None
    instance = case.instance(node)
    wanted = ", ".join(way.instance.node for way in case.declared.ways) or "no instance at all"
    whose = f" of app {instance.app_name}" if instance else ""
    text = f"the request went to {node}{whose}, but route {case.declared.route.url} leads to {wanted}"
    return Cause(text, f"netlab logs {case.observed.router or ''} envoy; netlab routes")


def _no_instance(case: Case) -> Cause | None:
    if case.declared.ways:
        return None
    apps = ", ".join(destination.app_name for destination in case.declared.route.destinations)
    if not apps:
        text = f"route {case.declared.route.url} is mapped to no app"
        return Cause(text, f"netlab map-route APP {case.declared.route.url}")
    return Cause(f"no instance of {apps}, which route {case.declared.route.url} leads to, is running", "netlab apps")


def _at_client(case: Case) -> Cause | None:
    leg, outcome = case.observed.client_leg, case.evidence.outcome
    if leg is None or outcome.failure == "unreachable":
        return Cause(
            f"the client cannot send to {outcome.remote}: {outcome.detail}", "netlab exec client -- ip route", True
        )
    if host(leg.destination) != case.subject.vip:
        text = f"the request was sent to {leg.destination}, which is not the mesh's address {case.subject.vip}"
        return Cause(text, "trace a name of the lab's domains")
    balancer = case.declared.balancer
    if case.unanswered("client", leg.source) or outcome.failure == "timeout":
        text = f"{balancer} never saw the packets that the client sent to {leg.destination}"
        return Cause(text, f"netlab exec {balancer} -- ip link; netlab exec client -- ip neighbour", dropped=True)
    return None


def _at_balancer(case: Case) -> Cause | None:
    leg, node = case.observed.client_leg, case.declared.balancer
    if leg is None:
        return None
    if leg.final is None:
        text = f"{node} did not send {leg.destination} on to a router: it has no rule for it, so none is in rotation"
        if case.refused("client", leg.source):
            return Cause(text, "netlab status; netlab logs lb load-balancer", dropped=True)
        return Cause(
            f"{node} saw the packets for {leg.destination} and sent them nowhere", "netlab status", dropped=True
        )
    if case.subject.vm_at(host(leg.final), "router") is None:
        return Cause(f"{node} sent the request to {leg.final}, which is no router", f"netlab logs {node} load-balancer")
    if not case.left(node, leg):
        return _kept(node, leg.final)
    router = case.subject.name_of(host(leg.final))
    text = f"{router} never saw the packets that {node} sent to {leg.final}"
    return Cause(text, f"netlab exec {router} -- ip address; netlab exec {node} -- ip neighbour", dropped=True)


def _kept(node: str, destination: str) -> Cause:
    text = (
        f"{node} changed the destination to {destination} and did not send the packet on: does it forward, and where?"
    )
    hint = f"netlab exec {node} -- sysctl net.ipv4.ip_forward; netlab exec {node} -- ip route get {host(destination)}"
    return Cause(text, hint, dropped=True)


def _at_router(case: Case) -> Cause | None:
    router, leg = case.observed.router, case.observed.client_leg
    if router is None or leg is None:
        return None
    line = case.evidence.line("ingress", router)
    if line is None:
        if case.refused(router, leg.source):
            text = f"nothing accepts connections on {leg.final} of {router}: its Envoy is down or has no listener"
            return Cause(text, f"netlab status; netlab logs {router} envoy", dropped=True)
        if case.unanswered(router, leg.source):
            return Cause(f"{router} saw the packets and never answered", f"netlab logs {router} envoy", dropped=True)
        return None
    flags, url = line.get("response_flags"), case.declared.route.url
    if "NR" in flags:
        text = f"{router} has no route for {url}: it answers {line.get('response_code')} itself"
        return Cause(text, f"netlab logs control pilot; netlab logs {router} envoy")
    if "UH" in flags or "NC" in flags:
        what = "knows no endpoint" if "UH" in flags else "has no cluster"
        return Cause(f"{router} {what} for {url}", "netlab logs control copilot pilot; netlab apps")
    return _upstream_failed(case, router)


def _upstream_failed(case: Case, router: str) -> Cause | None:
    """The router has the request and could not pass it on."""
    line, leg = case.evidence.line("ingress", router), case.observed.mesh_leg
    upstream = (line.get("upstream_host") if line else "") or (leg.destination if leg else "")
    if line is None or not upstream:
        return None
    reason = line.get("upstream_failure") or line.get("response_code_details") or line.get("response_flags")
    cell = case.subject.vm_at(host(upstream), "cell")
    to = f"{upstream} ({cell.name})" if cell else upstream
    if leg is not None and case.refused(router, leg.source):
        behind = _behind(case, upstream)
        return Cause(f"{to} refuses the connection of {router}{behind}: {reason}", "netlab status; netlab apps")
    if leg is not None and case.unanswered(router, leg.source):
        return Cause(f"{router} sent packets to {to}, and nothing answered", "netlab status", dropped=True)
    if line.get("response_flags") not in ("", "-"):
        return Cause(f"{router} could not pass the request on to {to}: {reason}", f"netlab logs {router} envoy")
    return None


def _behind(case: Case, upstream: str) -> str:
    if (way := case.declared.way_behind(upstream)) is not None:
        return f", behind which {way.instance.node} must be"
    return ", behind which the route has no instance (any more)"


def _at_cell(case: Case) -> Cause | None:
    cell, leg = case.observed.cell, case.observed.mesh_leg
    if cell is None or leg is None:
        return None
    if leg.final is None:
        number = port(leg.destination)
        text = f"{cell} has no rule that sends its port {number} to a container{_behind(case, leg.destination)}"
        return Cause(text, f"netlab logs {cell} rep", dropped=not case.refused(cell, leg.source))
    instance = case.subject.instance_at(host(leg.final))
    if instance is None:
        return Cause(
            f"{cell} sent the request to {leg.final}, where there is no container", f"netlab logs {cell} rep", True
        )
    if not case.left(cell, leg):
        return _kept(cell, leg.final)
    text = f"{instance.node} never saw the packets that {cell} sent to {leg.final}"
    return Cause(text, f"netlab exec {instance.node} -- ip address", dropped=True)


def _at_container(case: Case) -> Cause | None:
    node, leg = case.observed.container, case.observed.mesh_leg
    instance = case.instance(node)
    if node is None or leg is None or instance is None:
        return None
    changed = case.observed.hop("dnat", node)
    target = changed.after.rpartition(" ")[2] if changed else leg.final
    if case.refused(node, leg.source):
        what = f"the sidecar of {node}" if changed else f"the app in {node}"
        text = f"{what} does not accept connections on {target}"
        return Cause(text, f"netlab logs {node}; netlab status")
    if changed is None and leg.final is not None and case.evidence.outcome.status is not None:
        text = f"the packet reached port {port(leg.final)} of {node} as it was: the sidecar was not on its path"
        return Cause(text, f"netlab exec {node} -- iptables-legacy -t nat -S")
    if case.unanswered(node, leg.source):
        text = f"{node} saw the packets for {target} and never answered"
        return Cause(text, f"netlab logs {node}", dropped=True)
    if changed is not None and case.evidence.outcome.failure == "timeout":
        text = f"the sidecar of {node} took the request on {target} and did nothing with it: it hangs"
        return Cause(text, f"netlab logs {node}", dropped=True)
    return None


def _at_sidecar(case: Case) -> Cause | None:
    node = case.observed.container
    instance = case.instance(node)
    line = case.evidence.line("sidecar", node) if node else None
    if instance is None or line is None:
        return None
    flags, reason = line.get("response_flags"), line.get("upstream_failure") or line.get("response_code_details")
    target = line.get("upstream_host") or line.get("upstream_cluster")
    if "UF" in flags or "URX" in flags:
        text = f"the app in {instance.node} does not accept connections on {target}: {reason}"
        return Cause(text, f"netlab logs {instance.node}")
    if flags not in ("", "-"):
        text = f"the sidecar of {instance.node} answered {line.get('response_code')} {flags} itself: {reason}"
        return Cause(text, f"netlab logs {instance.node}")
    return None


def _at_app(case: Case) -> Cause | None:
    node, outcome = case.observed.container, case.evidence.outcome
    if outcome.failure is not None:
        text = f"the request reached the app in {node}, but the client got no complete answer: {outcome.detail}"
        return Cause(text, f"netlab logs {node}", dropped=True)
    return _at_container(case)


def _lost_after(case: Case) -> Cause:
    """Nothing more precise is known."""
    last = case.observed.nodes[-1] if case.observed.nodes else "client"
    outcome = case.evidence.outcome
    said = f"status {outcome.status}" if outcome.status is not None else outcome.detail or "no answer"
    return Cause(
        f"the request was last seen at {last}; the client got: {said}", "netlab status", outcome.status is None
    )


_Look = Callable[[Case], Cause | None]
_BY_PLACE: dict[str, tuple[_Look, ...]] = {
    "client": (_at_client,),
    "lb": (_at_balancer,),
    "ingress-envoy": (_at_router,),
    "cell": (_at_cell, _at_router),
    "container": (_at_container, _at_router),
    "sidecar-envoy": (_at_sidecar, _at_router),
    "app": (_at_app,),
}
