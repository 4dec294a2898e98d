"""One small file a command: what `nox -s NAME` runs. Each parses its arguments, calls, prints, and sets the exit code.

May import everything else. `--help` of each starts without torch.
"""
