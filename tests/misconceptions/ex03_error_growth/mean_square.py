"""Takes the mean of the squared errors. In which unit is it?"""

# caught by: test_the_error_is_the_root_mean_square_over_rows
# says: called output_error(w, x, bits=8), w (...) ... expected ...: root mean square over the rows of (w' - w) @ x

import math

from .ex01_round_trip import round_trip


def output_error(w, x, bits=8):
    error = (round_trip(w, bits) - w.float()).double() @ x.double()
    return error.square().mean()


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
