"""Loads the kata's pytest plugin, for plain `pytest` and for `nox -s check` alike."""

pytest_plugins = ["grader.plugin"]
