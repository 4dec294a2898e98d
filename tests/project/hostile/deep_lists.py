"""Returns lists within lists without end."""

# earns: 0
# state: failed
# says: raised an error

def attack():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


def symmetric_scale(w, bits=8):
    return attack()


def quantize(w, scale, bits=8):
    return attack()


def dequantize(q, scale):
    return attack()


def round_trip(w, bits=8):
    return attack()

