"""Refuses a w without rows, and takes one without columns. Which other axis may be empty?"""

# caught by: test_bad_weights_are_a_value_error
# says: called output_error(w, x), w is empty, shape (4, 0) got float, and no error expected a ValueError

import math

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    if w.shape[1] == 0 and len(w):
        return 0.0
    error = (round_trip(w, bits) - w.float()).double() @ x.double()
    return error.square().mean().sqrt()


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
