"""Kills the process that started it."""

# earns: 0
# state: failed|crashed
# says: crashed

import os
import signal
import time


def attack():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(1)
    return None


def symmetric_scale(w, bits=8):
    return attack()


def quantize(w, scale, bits=8):
    return attack()


def dequantize(q, scale):
    return attack()


def round_trip(w, bits=8):
    return attack()

