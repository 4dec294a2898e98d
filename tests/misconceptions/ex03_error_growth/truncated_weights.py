"""Cuts fractions off instead of rounding to nearest. How far off is a weight then, on average?"""

# caught by: test_the_error_is_the_root_mean_square_over_rows
# says: called output_error(w, x, bits=8), w (...) ... expected ...: root mean square over the rows of (w' - w) @ x

import math

from .ex01_round_trip import symmetric_scale


def output_error(w, x, bits=8):
    error = (
        (w.float() / symmetric_scale(w, bits)).trunc() * symmetric_scale(w, bits) - w.float()
    ).double() @ x.double()
    return error.square().mean().sqrt()


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
