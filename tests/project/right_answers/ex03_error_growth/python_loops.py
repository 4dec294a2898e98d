"""Row by row with math.fsum over Python numbers."""

import math

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    back, xs, total = round_trip(w, bits), x.tolist(), 0.0
    for row, row_back in zip(w.float(), back, strict=True):
        e = math.fsum((b - a) * v for a, b, v in zip(row.tolist(), row_back.tolist(), xs, strict=True))
        total += e * e
    return math.sqrt(total / len(w))


def typical_error(n, scale, x_rms):
    return math.sqrt(n) * float(x_rms) * float(scale) / math.sqrt(12)


def worst_case_error(n, scale, x_max):
    return sum([float(scale) / 2 * float(x_max)] * n)
