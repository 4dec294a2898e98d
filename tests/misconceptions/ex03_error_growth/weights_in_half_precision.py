"""Subtracts the weights in the precision that they came in. How many digits does half precision keep?"""

# caught by: test_half_precision_is_computed_in_float32
# says: called output_error(w, x), w bfloat16, x float32 ... expected ... within 1 %

import math

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    error = (round_trip(w, bits).to(w.dtype) - w).double() @ x.double()
    return error.square().mean().sqrt()


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
