"""Everything around the graded suites: the pytest plugin, the boundary, the board, the result model."""
