"""Takes 8 bits whatever it is asked for. What does bits change?"""

# caught by: test_the_error_is_the_root_mean_square_over_rows
# says: called output_error(w, x, bits=5), w (...) ... expected ...: root mean square over the rows of (w' - w) @ x

import math

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    error = (round_trip(w) - w.float()).double() @ x.double()
    return error.square().mean().sqrt()


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
