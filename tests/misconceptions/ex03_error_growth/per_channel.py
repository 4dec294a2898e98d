"""Gives each row a scale of its own. How many scales does w have in this exercise?"""

# caught by: test_the_error_is_the_root_mean_square_over_rows
# says: called output_error(w, x, bits=8), w (... 300... expected ...: root mean square over the rows of (w' - w) @ x

import math

from .ex02_per_channel import dequantize_per_channel, quantize_per_channel


def output_error(w, x, bits=8):
    error = (dequantize_per_channel(*quantize_per_channel(w, bits)) - w.float()).double() @ x.double()
    return error.square().mean().sqrt()


def typical_error(n, scale, x_rms):
    return scale / math.sqrt(12) * math.sqrt(n) * x_rms


def worst_case_error(n, scale, x_max):
    return n * scale / 2 * x_max
