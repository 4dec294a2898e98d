"""Pretends that somebody pressed Ctrl-C."""

# earns: 0
# state: failed
# says: raised an error ... KeyboardInterrupt

def attack():
    raise KeyboardInterrupt


def symmetric_scale(w, bits=8):
    return attack()


def quantize(w, scale, bits=8):
    return attack()


def dequantize(q, scale):
    return attack()


def round_trip(w, bits=8):
    return attack()

