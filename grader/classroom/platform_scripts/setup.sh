#!/usr/bin/env bash
# Gradescope runs this once, when the autograder's image is built: Python 3.11 or newer, and what the kata needs.
# AUTOGRADER_ROOT may name another folder than /autograder; KATA_TORCH_INDEX another index for PyTorch, or none ("").
set -euo pipefail
cd "${AUTOGRADER_ROOT:-/autograder}/source"
if [ "$(cat bundle-format.txt 2>/dev/null)" != 2 ]; then
  echo "this autograder was built from parts of two versions: run \`nox -s bundle -- gradescope\` and upload it again" >&2
  exit 1
fi

new_enough() { command -v "$1" >/dev/null && "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'; }
find_python() {
  for python in python3.14 python3.13 python3.12 python3.11 python3; do
    if new_enough "$python"; then echo "$python"; return; fi
  done
  return 1
}

if ! .venv/bin/python -c 'import torch' 2>/dev/null; then
  if ! python=$(find_python); then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install -y python3.12 python3.12-venv || apt-get install -y python3.11 python3.11-venv
    python=$(find_python) || { echo "no Python 3.11 or newer: choose a newer base image" >&2; exit 1; }
  fi
  index=${KATA_TORCH_INDEX-https://download.pytorch.org/whl/cpu}
  "$python" -m venv --clear .venv
  .venv/bin/python -m pip install --no-input ${index:+--extra-index-url "$index"} -r requirements.txt
  .venv/bin/python -m pip install --no-input --no-deps -r requirements-text.txt
fi

# A worker may be given a user of its own: it has to read what it runs, and nothing that gives answers away.
chmod -R a+rX .
chmod -R go-rwx solutions tests/test_*.py tests/misconceptions.zip not-graded.json
.venv/bin/python -m grader.commands.grade --help >/dev/null
echo "the kata's autograder is ready"
