"""Whether what `vti-updown status --json` prints is as docs/status.schema.json says."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMA = Path(__file__).resolve().parents[2] / "docs/status.schema.json"

FEW = 50


@cache
def _validator() -> Any:
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def checked(text: str) -> dict[str, Any]:
    """The document, which is as the schema says. Of thousands of tunnels, FEW are looked at."""
    document: dict[str, Any] = json.loads(text)
    part = {**document, "tunnels": document["tunnels"][:FEW]}
    faults = [f"{fault.json_path}: {fault.message}" for fault in _validator().iter_errors(part)]
    assert not faults, faults
    return document
