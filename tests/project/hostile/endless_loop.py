"""Never comes back."""

# earns: 0
# state: timeout
# says: did not finish within

def attack():
    while True:
        pass


def symmetric_scale(w, bits=8):
    return attack()


def quantize(w, scale, bits=8):
    return attack()


def dequantize(q, scale):
    return attack()


def round_trip(w, bits=8):
    return attack()

