"""Keeps the rounded weights of a tensor that it has seen before. What if other values were written into that tensor?"""

# caught by: test_answers_depend_on_values_alone
# says: called output_error(w, x), call 2 of 3, with the same tensor, in which other values were written ... expected

import math
from functools import cache

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    error = (rounded(w, bits) - w.float()).double() @ x.double()
    return error.square().mean().sqrt()


@cache
def rounded(w, bits):
    return round_trip(w, bits)


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
