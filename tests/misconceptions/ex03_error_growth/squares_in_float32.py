"""Squares the errors in float32. How large or small may a float32 be?"""

# caught by: test_weights_of_any_size_will_do
# says: called output_error(w, x, bits=4), max|w| = 1e+37, max|x| = 1 got inf expected ... within 1 %

import math

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    error = (round_trip(w, bits) - w.float()) @ x.float()
    return error.square().mean().sqrt()


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
