"""Lets every weight be off by a whole step. How far off is one weight at most?"""

# caught by: test_the_worst_case_adds_up_like_n
# says: called worst_case_error(...) ... got ... expected

import math

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    error = (round_trip(w, bits) - w.float()).double() @ x.double()
    return error.square().mean().sqrt()


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale * x_max
