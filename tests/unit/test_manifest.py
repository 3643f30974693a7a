"""App manifests: what they ask for, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from netlab.errors import ManifestError
from netlab.topology.manifest import load, load_variables

CREATED_BY_CF = """\
applications:
- name: shop
  disk-quota: 1G
  instances: 2
  memory: 256M
"""


@pytest.fixture
def manifest(tmp_path: Path):
    (tmp_path / "bits").mkdir()

    def write(text: str) -> Path:
        path = tmp_path / "manifest.yml"
        path.write_text(text)
        return path

    return write


def problems(path: Path, **variables: object) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        load(path, variables)
    return [line.removeprefix(f"{path}:") for line in caught.value.message.split("\n")]


def test_every_field_becomes_a_part_of_the_push(manifest, tmp_path):
    path = manifest("""\
version: 1
defaults: &defaults
  memory: 1G
applications:
- <<: *defaults
  name: shop
  path: bits
  command: ./run.sh
  instances: 3
  disk_quota: 512MB
  env: {COLOUR: blue, COUNT: 3, DEBUG: true}
  routes:
  - route: shop.mesh.example.test/basket
  health-check-type: http
  health-check-http-endpoint: /health
  timeout: 90
  metadata: {labels: {team: web}}
- name: worker
  no-route: true
  health-check-type: process
""")
    shop, worker = (app.pushed() for app in load(path, {}).manifest.applications)
    assert shop == {
        "name": "shop",
        "instances": 3,
        "command": "./run.sh",
        "directory": str(tmp_path / "bits"),
        "memory_mb": 1024,
        "disk_mb": 512,
        "env": {"COLOUR": "blue", "COUNT": "3", "DEBUG": "true"},
        "routes": ["shop.mesh.example.test/basket"],
        "health_check": {"type": "http", "data": {"endpoint": "/health", "timeout": 90}},
        "metadata": {"labels": {"team": "web"}, "annotations": {}},
    }
    assert worker == {"name": "worker", "no_route": True, "health_check": {"type": "process", "data": {}}}


def test_a_manifest_that_the_cf_cli_wrote_is_taken(manifest):
    path = manifest(CREATED_BY_CF + "  stack: cflinuxfs4\n  buildpacks: [ruby_buildpack]\n")
    loaded = load(path, {})
    (app,) = loaded.manifest.applications
    assert app.pushed() == {"name": "shop", "instances": 2, "memory_mb": 256, "disk_mb": 1024}
    assert len(loaded.warnings) == 2
    assert "manifest.yml:6: applications[0].stack" in " ".join(loaded.warnings)


def test_the_web_process_wins_over_the_app(manifest):
    path = manifest("""\
applications:
- name: shop
  memory: 1G
  instances: 1
  processes:
  - type: web
    instances: 4
""")
    (app,) = load(path, {}).manifest.applications
    assert app.pushed() == {"name": "shop", "instances": 4, "memory_mb": 1024}


def test_variables_are_filled_in_and_keep_their_type(manifest, tmp_path):
    path = manifest("""\
applications:
- name: shop-((stage))
  instances: ((count))
  memory: ((memory))
""")
    file = tmp_path / "vars.yml"
    file.write_text("count: 3\nmemory: 1G\n")
    (app,) = load(path, load_variables(file) | {"stage": "test"}).manifest.applications
    assert app.pushed() == {"name": "shop-test", "instances": 3, "memory_mb": 1024}
    assert problems(path, count=3, memory="1G") == [
        "2: applications[0].name: needs the variable stage: give --var stage=VALUE or --vars-file FILE"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("applications: []\n", "1: applications: must not be an empty list"),
        ("apps:\n- name: a\n", "1: applications: is missing; add it"),
        (
            "applications:\n- name: a\n  instance: 2\n",
            "3: applications[0].instance: unknown field; did you mean instances?",
        ),
        ("applications:\n- name: a\n  memory: 512\n", "must be a number with a unit, as 512M or 1G, not 512"),
        ("applications:\n- memory: 1G\n", "2: applications[0].name: is missing; add it"),
        ("applications:\n- name: a\n  path: nowhere\n  command: x\n", "3: applications[0].path: there is no "),
        ("applications:\n- name: a\n  path: bits\n", "needs a 'command'"),
        ("applications:\n- name: a\n- name: a\n", "3: applications[1].name: a is given twice; rename one"),
        ("applications:\n- name: a\n  docker: {image: x}\n", "3: applications[0].docker: is not supported"),
        ("applications:\n- name: a\n  random-route: true\n", "give 'routes'"),
        ("applications:\n- name: a\n  no-route: true\n  routes: [{route: a.b}]\n", "contradicts 'routes'"),
        ("applications:\n- name: a\n  health-check-type: tcp\n", "3: applications[0].health-check-type: is wrong"),
        ("applications:\n- name: a\n  processes: [{type: worker}]\n", "processes[0].type: is wrong"),
        ("applications\n", "1: "),
        ("", "the file is empty; a manifest needs at least"),
        ("applications: [\n", "begins a bracket that is not closed"),
        ("applications: {name: a}\n", "1: applications: must be a list"),
    ],
)
def test_a_wrong_manifest_is_told_by_line_and_field(manifest, text, said):
    found = problems(manifest(text))
    assert any(said in line for line in found), found


def test_all_that_is_wrong_is_told_at_once(manifest):
    found = problems(manifest("applications:\n- name: a\n  memory: 5\n  docker: {}\n  frobnicate: 1\n"))
    assert [line.split(":")[0] for line in found] == ["3", "4", "5"]
