"""Reads where there is no memory."""

# earns: 0
# state: crashed
# says: crashed with a segmentation fault

import ctypes


def attack():
    return ctypes.string_at(0)


def symmetric_scale(w, bits=8):
    return attack()


def quantize(w, scale, bits=8):
    return attack()


def dequantize(q, scale):
    return attack()


def round_trip(w, bits=8):
    return attack()

