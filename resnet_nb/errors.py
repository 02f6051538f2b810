"""The two ways in which a command can end badly. Each message is one sentence that says what to do."""


class _Sentence(Exception):
    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the sentence is for the reader, the call stack is not."""
        return [f"{type(self).__name__}: {self}"]


class InputError(_Sentence):
    """Bad usage or bad input: an unknown name, an absent or damaged file. The command line exits with 2."""


class RunError(_Sentence):
    """The work itself failed: a full disk, a loss that is not finite, an interrupted run. The command line exits with 1."""
