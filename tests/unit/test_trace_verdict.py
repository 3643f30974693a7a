"""The pure part of the trace, on recordings of a real lab: from evidence to hops, verdict and document."""

import dataclasses
import io
import json

import pytest
from rich.console import Console

from netlab.trace.evidence import Source
from netlab.trace.render import render
from netlab.trace.result import document
from tests.unit import trace_cases

WHOLE_PATH = ["client", "lb", "{router}", "{cell}", "{node}", "{node}/sidecar", "{node}/app"]
KINDS = ["client", "lb", "dnat", "ingress-envoy", "cell", "dnat", "container", "dnat", "sidecar-envoy", "app"]


def changed(name, **changes):
    """A recording of which some evidence is lost: each change is a function of the evidence's field."""
    recording = trace_cases.load(name)
    fields = {field: change(getattr(recording.evidence, field)) for field, change in changes.items()}
    return dataclasses.replace(recording, evidence=dataclasses.replace(recording.evidence, **fields))


def without(**wanted):
    """Keep what differs from `wanted` in at least one field."""
    return lambda items: tuple(i for i in items if any(getattr(i, key) != value for key, value in wanted.items()))


def lossy(source, node):
    def change(sources):
        kept = (s for s in sources if (s.source, s.node) != (source, node))
        return (*kept, Source(source, node, True, "", lost=3))

    return change


@pytest.mark.parametrize(
    ("name", "verdict", "words"),
    [
        ("pass_new", "pass", ""),
        ("pass_reused", "pass", ""),
        ("sidecar_rule_gone_new", "differs", "no DNAT rule in hello-0 sends app port 8080 to the sidecar's port 15001"),
        ("sidecar_rule_gone_reused", "differs", "no DNAT rule in hello-0"),
        ("sidecar_rule_gone_elsewhere", "differs", "this request went to hello-1, but the next may not"),
        ("lb_drops", "dropped", "rule 1 of chain FORWARD in table filter (bad) on lb drops the packet"),
        ("cell_drops_once", "differs", "(hello-0) and got no answer, then went elsewhere: rule 1 of chain FORWARD"),
        ("sidecar_hangs", "dropped", "the sidecar of hello-0 took the request"),
    ],
)
def test_recorded_traces(name, verdict, words):
    found = trace_cases.load(name).verdict()
    assert found.verdict == verdict
    assert found.exit_status == {"pass": 0, "differs": 1, "dropped": 3}[verdict]
    assert words in (found.cause or "")
    assert (found.cause is None) == (found.hint is None) == (verdict == "pass")


def test_every_recording_is_judged():
    assert len(trace_cases.names()) == 8


@pytest.mark.parametrize("name", ["pass_new", "pass_reused"])
def test_a_path_as_declared(name):
    recording = trace_cases.load(name)
    observed = recording.observed()
    names = {"router": observed.router, "cell": observed.cell, "node": observed.container}
    assert observed.nodes == [place.format(**names) for place in WHOLE_PATH]
    assert list(recording.verdict().expected) == observed.nodes
    assert [hop.kind for hop in observed.hops] == KINDS
    times = [hop.at_ns for hop in observed.hops]
    assert times == sorted(times)
    assert all(len(hop.proofs) >= 2 for hop in observed.hops if hop.kind == "dnat")


def test_each_dnat_names_the_rule_that_did_it():
    recording = trace_cases.load("pass_new")
    instance = next(i for i in recording.subject.instances if i.node == recording.observed().container)
    found = {}
    for hop in recording.observed().hops:
        if hop.kind == "dnat":
            rule = next(piece for piece in hop.evidence if piece["source"] == "rule")
            found[hop.node] = (rule["how"], hop.before.split()[-1], hop.after.split()[-1])
            assert hop.after.split()[-1] in rule["text"]
            assert rule["text"].startswith(f"-t nat -A {rule['chain']} ")
            assert rule["comment"].startswith("netlab: ")
    app = f"{instance.address}:8080"
    router = recording.subject.vm(recording.observed().router)
    assert found == {
        "lb": ("trace", "203.0.113.10:80", f"{router.address}:80"),
        instance.cell: ("trace", f"{instance.cell_address}:{instance.host_port(8080)}", app),
        instance.node: ("trace", app, f"{instance.address}:15001"),
    }


def test_a_reused_connection_says_that_rules_did_not_see_it():
    observed = trace_cases.load("pass_reused").observed()
    assert not observed.mesh_leg.new
    for node in (observed.cell, observed.container):
        pieces = {piece["source"]: piece for piece in observed.hop("dnat", node).evidence}
        assert pieces["rule"]["how"] == "listing"
        assert pieces["conntrack"]["connection"] == "reused"
        assert "first packet" in pieces["conntrack"]["summary"]


def test_a_bypassed_sidecar_is_not_on_the_observed_path():
    recording = trace_cases.load("sidecar_rule_gone_new")
    assert recording.observed().nodes[-2:] == ["hello-0", "hello-0/app"]
    assert "hello-0/sidecar" in recording.verdict().expected


def test_a_dnat_with_one_witness_is_not_enough():
    recording = changed("pass_reused", connections=lambda _: ())
    verdict = recording.verdict()
    assert (verdict.verdict, verdict.exit_status) == ("insufficient", 4)
    assert "is shown by packet only" in verdict.cause


def test_rules_that_cannot_be_read_leave_a_traced_dnat_proven():
    recording = changed("pass_new", rules=lambda _: {})
    assert recording.verdict().verdict == "pass"


@pytest.mark.parametrize("seen", [True, False])
def test_silence_counts_only_where_there_was_something_to_hear(seen):
    """The container's packets and its sidecar's line are missing: not there, or not seen?"""
    node = trace_cases.load("pass_new").observed().container
    changes = {
        "segments": without(node=node),
        "lines": without(node=node),
    }
    if not seen:
        changes["sources"] = lambda s: lossy("access-log", node)(lossy("packet", node)(s))
    verdict = changed("pass_new", **changes).verdict()
    assert verdict.verdict == ("dropped" if seen else "insufficient")
    assert f"{node} " in verdict.cause


def test_a_lost_line_is_made_up_for_by_packets():
    recording = changed("pass_new", lines=without(proxy="ingress"))
    assert recording.verdict().verdict == "pass"


def test_an_answer_that_broke_off_is_no_pass():
    recording = trace_cases.load("pass_new")
    outcome = dataclasses.replace(recording.evidence.outcome, failure="closed", detail="connection closed early")
    evidence = dataclasses.replace(recording.evidence, outcome=outcome)
    verdict = dataclasses.replace(recording, evidence=evidence).verdict()
    assert (verdict.verdict, verdict.exit_status) == ("dropped", 3)
    assert "connection closed early" in verdict.cause


def test_another_apps_instance_is_the_wrong_one():
    recording = trace_cases.load("pass_new")
    node = recording.observed().container
    instances = tuple(
        dataclasses.replace(i, app_name="other", app_guid="x") if i.node == node else i
        for i in recording.subject.instances
    )
    subject = dataclasses.replace(recording.subject, instances=instances)
    verdict = dataclasses.replace(recording, subject=subject).verdict()
    assert verdict.verdict == "differs"
    assert f"the request went to {node} of app other" in verdict.cause


def test_no_running_instance():
    recording = trace_cases.load("pass_new")
    subject = dataclasses.replace(recording.subject, instances=())
    evidence = dataclasses.replace(recording.evidence, segments=(), lines=(), connections=(), steps=())
    verdict = dataclasses.replace(recording, subject=subject, evidence=evidence).verdict()
    assert "no instance of hello" in verdict.cause


@pytest.mark.parametrize("name", trace_cases.names())
@pytest.mark.parametrize("width", [60, 100, 200])
def test_document_and_table(name, width):
    recording = trace_cases.load(name)
    result = document(
        lab="lab",
        url="http://hello.mesh.example.test/",
        declared=recording.declared,
        evidence=recording.evidence,
        observed=recording.observed(),
        verdict=recording.verdict(),
        duration_ns=1_500_000,
    )
    assert json.loads(json.dumps(result)) == result
    for key in ("verdict", "exit_status", "status", "request_id", "expected", "observed", "hops", "cause", "hint"):
        assert key in result
    assert all({"node", "kind", "at_ns", "before", "after", "evidence"} == set(hop) for hop in result["hops"])
    assert all({"source", "summary"} <= set(piece) for hop in result["hops"] for piece in hop["evidence"])
    out = io.StringIO()
    Console(file=out, width=width).print(render(result))
    text = out.getvalue()
    assert result["verdict"].upper() in text
    assert max(map(len, text.splitlines())) <= width
