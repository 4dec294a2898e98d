"""What is remembered from one command to the next on a learner's machine: small JSON objects in the folder .kata."""

import json
from pathlib import Path
from typing import Any

from grader.results.paths import ROOT
from grader.results.safe_files import write_whole

FOLDER = ROOT / ".kata"


def recall(file: Path, kind: type) -> dict[str, Any]:
    """{name: value of this kind}; empty where there is no such file, or one that somebody else wrote."""
    try:
        return {name: kind(value) for name, value in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def remember(file: Path, values: dict[str, Any]) -> None:
    file.parent.mkdir(exist_ok=True)
    write_whole(file, json.dumps(values, indent=2) + "\n")
