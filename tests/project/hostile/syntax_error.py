"""Does not even compile."""

# earns: 0
# state: error
# says: exercises/ex01_round_trip.py:8: invalid syntax


def symmetric_scale(w, bits=8:
    return w.abs().max() / 127
