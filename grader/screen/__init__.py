"""What a person sees in a terminal: the board, and what is said while a command is at work.

Runs in the parent. Imports `results` only, and never torch.
"""
