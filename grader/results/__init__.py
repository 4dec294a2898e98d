"""Data only: the result of a run, failures, the syllabus and its hints, and the files that other programs read.

Used in every process; imports nothing else of this project, and never torch.
"""
