"""Adds up variances before it takes the root. How small is the square of a small scale?"""

# caught by: test_theory_is_the_formula_of_the_lesson
# says: called typical_error(64, 1e-32, 1.5), both tensors got 0 expected 3.4641e-32

import math

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    error = (round_trip(w, bits) - w.float()).double() @ x.double()
    return error.square().mean().sqrt()


def typical_error(n, scale, x_rms):
    return (n * (scale**2 / 12) * x_rms**2) ** 0.5


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
