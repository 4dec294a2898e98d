"""The parent: runs each suite in a child process, keeps the deadlines, and hands failures to a second child.

Imports `results` only, and never torch, so that a command answers at once.
"""
