"""The error that a command answers with one line and exit code 2."""


class UsageError(ValueError):
    """The command line asks for something that there is not; the message says what would do."""
