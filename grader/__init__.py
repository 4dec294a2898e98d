"""Everything around the graded suites, one package for each process or purpose: see CONTRIBUTING.md for the map."""
