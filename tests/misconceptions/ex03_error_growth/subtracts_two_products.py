"""Subtracts two products, both in float32. How many digits are left in a small difference of large numbers?"""

# caught by: test_weights_of_any_size_will_do
# says: called output_error(w, x), equal columns 0 and 150 of w, x[0] = 1e6, x[150] = -1e6 ... expected ... within 1 %

import math

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    error = round_trip(w, bits) @ x.float() - w.float() @ x.float()
    return error.double().square().mean().sqrt()


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
