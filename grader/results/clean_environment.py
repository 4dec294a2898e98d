"""The environment of every process that a verdict depends on: a few variables of the user's, two of ours, no other.

PYTHONOPTIMIZE would remove assertions, PYTEST_ADDOPTS leave tests out, OMP_NUM_THREADS change what is timed.
"""

import os
from collections.abc import Mapping

PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "TERM", "NO_COLOR", "LD_LIBRARY_PATH", "KATA_TEXTS")
PASSED_ON_FAMILIES = ("LC_", "DYLD_")
OURS = {
    # threads that wait by spinning take ten times as long once another program wants a core
    "OMP_WAIT_POLICY": "PASSIVE",
    # one of PyTorch's engines warns of itself past Python, where nothing else could silence it
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}


def clean_environment(outside: Mapping[str, str] = os.environ) -> dict[str, str]:
    kept = {name: value for name, value in outside.items() if name in PASSED_ON or name.startswith(PASSED_ON_FAMILIES)}
    return kept | OURS
