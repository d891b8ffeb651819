"""The schema of the API, from which the page's client is made: ``python -m vitscope.app.openapi > openapi.json``."""

from __future__ import annotations

import json
import sys

from vitscope.app.application import routed


def schema_text() -> str:
    """The schema as JSON, the same for the same version."""
    return json.dumps(routed().openapi(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
