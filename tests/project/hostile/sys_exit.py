"""Leaves with sys.exit(0) in every call."""

# earns: 0
# state: failed
# says: raised an error ... SystemExit

import sys


def attack():
    sys.exit(0)


def symmetric_scale(w, bits=8):
    return attack()


def quantize(w, scale, bits=8):
    return attack()


def dequantize(q, scale):
    return attack()


def round_trip(w, bits=8):
    return attack()

