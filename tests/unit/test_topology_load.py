"""A topology file is read whole, and every problem in it comes out at once, in words that say the mend."""

from __future__ import annotations

import json
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.errors import TopologyError
from netlab.topology.load import load
from netlab.topology.models import App, Topology
from netlab.topology.source import SIZE_LIMIT

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "topologies").glob("*.yml"))


def golden_cases() -> list[Any]:
    """The cases of topology_problems.txt: a file's text and the lines that are said of it."""
    _, *cases = (ROOT / "tests/unit/topology_problems.txt").read_text().split("===\n")
    found = []
    for case in cases:
        lines = case.splitlines()
        said = [line.removeprefix("> ") for line in lines if line.startswith("> ")]
        text = "\n".join(line for line in lines if not line.startswith("> ")) + "\n"
        found.append(pytest.param(text, said, id=said[0].removeprefix("lab.yml:")[:40]))
    return found


def problems(folder: Path, content: bytes) -> list[str]:
    """The error's lines, less the folder's name."""
    path = folder / "lab.yml"
    path.write_bytes(content)
    with pytest.raises(TopologyError) as caught:
        load(path)
    assert caught.value.exit_status == 2
    return str(caught.value).replace(f"{folder}/", "").splitlines()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_topologies_are_valid_and_say_what_they_show(path: Path) -> None:
    topology = load(path)
    assert topology.name == path.stem
    lines = path.read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=schema.json"
    assert len(lines[2]) > 20
    assert lines[2].startswith("# ")


def test_quickstart_is_what_the_documents_promise() -> None:
    topology = load(ROOT / "topologies/quickstart.yml")
    assert (topology.routers, topology.cells) == (2, 2)
    assert [(app.name, app.instances) for app in topology.apps] == [("hello", 2), ("world", 2)]
    hello, world = (set(app.routes) for app in topology.apps)
    assert hello == {"hello.mesh.example.test", "greetings.mesh.example.test"}
    assert world == {"world.mesh.example.test", "greetings.mesh.example.test"}


def test_a_name_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "lab.yml"
    path.write_text("name: tiny\n")
    assert load(path) == Topology(name="tiny")


@pytest.mark.parametrize(("text", "said"), golden_cases())
def test_golden(tmp_path: Path, text: str, said: list[str]) -> None:
    assert problems(tmp_path, text.encode()) == said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "lab.yml: the file is empty; a topology needs at least 'name: mylab'"),
        (b"name: a\x07\n", "lab.yml:1: contains the control character U+0007; remove it"),
        (b"name: x\nsystem_domain: \xff\n", "lab.yml:2: byte 0xff is no UTF-8; save the file as UTF-8"),
        (b"a: " + b"[" * 3000, "lab.yml:1: is nested too deeply; a topology needs five levels"),
        (b"#" * (SIZE_LIMIT + 1), f"lab.yml: is larger than {SIZE_LIMIT} bytes; that is no topology"),
    ],
    ids=["empty", "control", "encoding", "deep", "large"],
)
def test_no_text_for_a_person(tmp_path: Path, content: bytes, said: str) -> None:
    assert problems(tmp_path, content) == [said]


def test_problems_are_there_for_machines_too(tmp_path: Path) -> None:
    path = tmp_path / "lab.yml"
    path.write_text("name: x\nrouters: 0\n")
    with pytest.raises(TopologyError) as caught:
        load(path)
    assert caught.value.as_dict()["problems"] == [
        {"file": str(path), "line": 2, "field": "routers", "message": "must be at least 1, not 0"}
    ]


@pytest.mark.parametrize(
    "name", ["client", "lb", "router", "router-1", "cell-12", "control", "api", "diego-api", "nats"]
)
def test_an_app_cannot_take_the_name_of_a_vm(tmp_path: Path, name: str) -> None:
    said = f"lab.yml:2: apps[0].name: {name} is a name of the lab's own VMs; choose another"
    assert problems(tmp_path, f"name: a\napps: [{{name: {name}}}]\n".encode()) == [said]


def test_a_missing_file_names_the_likely_one(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yml").write_text("name: x\n")
    with pytest.raises(TopologyError, match=r"quikstart\.yml: no such file; did you mean .*/quickstart\.yml\?$"):
        load(tmp_path / "quikstart.yml")
    with pytest.raises(TopologyError, match=r"a\.yml: no such file; there is no folder .*/gone$"):
        load(tmp_path / "gone" / "a.yml")
    with pytest.raises(TopologyError, match=r": is a directory; name the topology file in it$"):
        load(tmp_path)


def test_aliases_cannot_blow_up(tmp_path: Path) -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9))
    (said,) = problems(tmp_path, f"l0: &l0 x\n{levels}\n".encode())
    assert "stands for more than 200000 values; use fewer aliases" in said


def test_anchors_merge(tmp_path: Path) -> None:
    path = tmp_path / "lab.yml"
    path.write_text(
        dedent("""\
        name: a
        apps:
          - &base
            name: one
            instances: 3
            env: {A: 1, B: "2"}
          - <<: *base
            name: two
        """)
    )
    assert load(path).apps[1] == App(name="two", instances=3, env={"A": "1", "B": "2"})


def test_directories_come_out_absolute(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    path = tmp_path / "lab.yml"
    path.write_text("name: a\napps: [{name: b, directory: app, command: ./run}]\n")
    assert load(path).apps[0].directory == str(tmp_path / "app")


def test_quickstart_loads_fast() -> None:
    path = ROOT / "topologies/quickstart.yml"
    load(path)
    started = time.perf_counter()
    load(path)
    assert time.perf_counter() - started < 0.06


def test_a_topology_survives_json() -> None:
    topology = load(ROOT / "topologies/quickstart.yml")
    assert Topology.model_validate_json(topology.model_dump_json()) == topology
    assert Topology.model_validate(topology.model_dump(mode="json")) == topology


def outcome(path: Path) -> list[dict[str, Any]]:
    """The problems of a file, none if it is a topology; any other exception is a bug."""
    try:
        load(path)
    except TopologyError as error:
        return list(error.fields["problems"]) or [{"message": "is wrong, and nothing says why"}]
    return []


WORDS = [
    "name: a",
    "apps:",
    "- name: b",
    "routes:",
    "- x.mesh.example.test",
    "  ",
    "\n",
    "\t",
    "&a",
    "*a",
    "<<:",
    "{",
    "}",
]
WORDS += [
    "[",
    "]",
    "'",
    '"',
    "|",
    "addressing:",
    "public: 10.1.0.0/16",
    "cells: 3",
    "- ",
    ": ",
    "#",
    "!!str",
    "é",
    "0x1",
]
WORDS += ["- instances: 3", "env: {A: 1}", "---", "%", "@", ">", "? "]


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=14).map("".join)))
def test_any_text_gives_a_topology_or_problems(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for problem in outcome(path):
        assert not problem["message"].startswith("is wrong")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from([*Topology.model_fields, *App.model_fields])


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(FIELDS, VALUES), st.dictionaries(FIELDS, VALUES))
def test_any_values_give_a_topology_or_problems(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object], app: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps({"apps": [app], **values}))
    for problem in outcome(path):
        assert not problem["message"].startswith("is wrong")
