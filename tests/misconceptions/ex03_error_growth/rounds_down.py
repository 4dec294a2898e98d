"""Rounds down instead of to the nearest code. What do errors of one sign add up to?"""

# caught by: test_the_error_grows_like_the_square_root_of_n
# says: called output_error for n = 64 to 16384, bits=8 got growth like n ** ... expected growth like n ** 0.50

import math

from .ex01_round_trip import symmetric_scale


def output_error(w, x, bits=8):
    scale = symmetric_scale(w, bits)
    error = ((w.float() / scale).floor() * scale - w.float()).double() @ x.double()
    return error.square().mean().sqrt()


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
