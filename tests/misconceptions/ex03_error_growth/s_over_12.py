"""Divides by 12. Is 1/12 a variance or a standard deviation?"""

# caught by: test_theory_is_the_formula_of_the_lesson
# says: called typical_error(...) ... got ... expected

import math

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    error = (round_trip(w, bits) - w.float()).double() @ x.double()
    return error.square().mean().sqrt()


def typical_error(n, scale, x_rms):
    return scale / 12 * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
