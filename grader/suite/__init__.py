"""What lives in pytest's process: the plugin, the `student` that suites ask, the local one, diagnosis.

Imports `results` and `llm`. Plain `pytest` runs this in the learner's own process.
"""
