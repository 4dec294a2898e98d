"""Fails, whatever it is asked, with a message and exit code 2."""

# exercise: ex09
# earns: 0
# state: failed
# says: got exit code 2; stderr: cannot do that ... expected exit code 0

import sys


def main(argv):
    print("cannot do that", file=sys.stderr)
    return 2


def load_int8(path):
    raise NotImplementedError
