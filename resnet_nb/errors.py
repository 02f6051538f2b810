"""The two ways in which a command can end badly. Each message is one sentence that says what to do."""


class InputError(Exception):
    """Bad usage or bad input: an unknown name, an absent or damaged file. The command line exits with 2."""


class RunError(Exception):
    """The work itself failed: a full disk, a loss that is not finite, an interrupted run. The command line exits with 1."""
