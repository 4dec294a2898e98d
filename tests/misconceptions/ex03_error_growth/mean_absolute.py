"""Takes the mean of the absolute errors. Is it a root of a mean of squares?"""

# caught by: test_the_error_is_the_root_mean_square_over_rows
# says: called output_error(w, x, bits=8), w (... 300... expected ...: root mean square over the rows of (w' - w) @ x

import math

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    error = (round_trip(w, bits) - w.float()).double() @ x.double()
    return error.abs().mean()


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
