"""The command line, `resnet-nb`: names and options to calls, one module for a command or for a few that belong together."""

from resnet_nb.cli.app import app, main

__all__ = ["app", "main"]
