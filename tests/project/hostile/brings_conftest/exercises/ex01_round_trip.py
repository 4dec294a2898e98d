"""The stub as it was handed out."""

# earns: 0
# state: not started
# says: is still a stub


def symmetric_scale(w, bits=8):
    raise NotImplementedError("ex01: symmetric_scale")


def quantize(w, scale, bits=8):
    raise NotImplementedError("ex01: quantize")


def dequantize(q, scale):
    raise NotImplementedError("ex01: dequantize")


def round_trip(w, bits=8):
    raise NotImplementedError("ex01: round_trip")
