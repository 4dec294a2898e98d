"""Loads the kata's pytest plugin, for plain `pytest` and for `nox -s check` alike."""

import os
from pathlib import Path

# Both have to be said before PyTorch is imported; noxfile.py has the reasons.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(__file__).parent / ".kata" / "hypothesis"))

pytest_plugins = ["grader.suite.plugin"]
