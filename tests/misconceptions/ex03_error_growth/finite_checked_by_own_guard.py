"""Replaces what is not finite by zero. What should a weight that is NaN do?"""

# caught by: test_bad_weights_are_a_value_error
# says: called output_error(w, x, bits), w holds NaN ... expected a ValueError

import math

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    w = w.nan_to_num()
    error = (round_trip(w, bits) - w.float()).double() @ x.double()
    return error.square().mean().sqrt()


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
