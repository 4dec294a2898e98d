"""A pytest plugin: diagnoses begin even when there is no time for pytest's own work."""

from grader.suite import diagnosis

diagnosis.NESTED = 0.0
