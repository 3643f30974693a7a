"""The topology file's JSON Schema, for editors and for `netlab schema`."""

from __future__ import annotations

import json
from typing import Any

from netlab.topology.models import Topology

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema of a topology file (JSON Schema, draft 2020-12), each field with a description."""
    generated = Topology.model_json_schema(mode="validation")
    _plain(generated)
    return {"$schema": DIALECT, **generated, "title": "netlab topology"}


def schema_text() -> str:
    """The schema as `netlab schema` prints it and as it stands in topologies/schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _plain(part: Any) -> None:
    """Drop what only repeats a field's name, and formats that no validator knows."""
    if isinstance(part, dict):
        if isinstance(part.get("title"), str):
            del part["title"]
        if part.get("format") == "ipv4network":
            part["format"] = "ipv4-network"
            part["pattern"] = r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$"
        for inner in part.values():
            _plain(inner)
    elif isinstance(part, list):
        for inner in part:
            _plain(inner)
