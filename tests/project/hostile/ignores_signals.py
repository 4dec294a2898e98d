"""Never comes back, and hears no signal and no exception."""

# earns: 0
# state: timeout
# says: did not finish within

import contextlib
import signal
import time

for number in range(1, 65):
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_IGN)


def attack():
    while True:
        try:
            time.sleep(0.1)
        except BaseException:
            pass


def symmetric_scale(w, bits=8):
    return attack()


def quantize(w, scale, bits=8):
    return attack()


def dequantize(q, scale):
    return attack()


def round_trip(w, bits=8):
    return attack()

