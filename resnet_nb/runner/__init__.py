"""Executes the notebooks with papermill, each in a process of its own: `resnet-nb run`, `make run`.

A notebook is executed in its own folder by this very Python, whatever kernels the user has installed. Its executed
copy and its page go to executed/EVIDENCE; a notebook that fails leaves both, with the traceback, and stops no other.
"""

from resnet_nb.runner.processes import Outcome, format_outcomes, run_notebooks

__all__ = ["Outcome", "format_outcomes", "run_notebooks"]
