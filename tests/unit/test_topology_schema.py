"""The JSON Schema for editors, and the page of the manual: both must be in step with the models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netlab.topology.models import Addressing, App, HostPorts, Topology
from netlab.topology.schema import DIALECT, schema, schema_text

ROOT = Path(__file__).parents[2]


def test_the_shipped_schema_is_current() -> None:
    assert (ROOT / "topologies/schema.json").read_text() == schema_text(), "run: netlab schema > topologies/schema.json"


def test_every_field_is_described() -> None:
    whole = schema()
    assert whole["$schema"] == DIALECT
    objects: list[dict[str, Any]] = [whole, *whole["$defs"].values()]
    for part in objects:
        assert part["additionalProperties"] is False
        for name, field in part["properties"].items():
            assert field["description"].endswith("."), name
            assert "title" not in field


def test_the_manual_describes_every_field() -> None:
    page = (ROOT / "docs/topology.md").read_text()
    for model in (Topology, App, Addressing, HostPorts):
        for name, field in model.model_fields.items():
            assert f"| `{name}` |" in page, f"docs/topology.md lacks {model.__name__}.{name}"
            assert field.description is not None
