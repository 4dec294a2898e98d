"""A pytest plugin: diagnoses begin even when there is no time for pytest's own work."""

from grader import diagnose

diagnose.NESTED = 0.0
