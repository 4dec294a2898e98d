"""What an instructor needs: taking submissions in, grading one or a class, tables, likeness, bundles.

Runs in the parent. Imports `run`, `results` and the sandbox's policy, and never torch.
"""
