"""Multiplies in half precision. How large may an error be?"""

# caught by: test_weights_of_any_size_will_do
# says: called output_error(w, x, bits=4), w of size 1e-7 ... got ... expected

import math

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    error = ((round_trip(w, bits) - w.float()).half() @ x.half()).float()
    return error.square().mean().sqrt()


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
