"""With this folder first on PYTHONPATH a Python process finds no torch, as on a machine where it is not installed."""

import importlib.machinery
import sys

HIDDEN = {"torch", "torchvision", "timm"}


class WithoutTorch(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in HIDDEN else super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, *arguments, **options):
        return (found for found in super().find_distributions(*arguments, **options) if found.name not in HIDDEN)


sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = WithoutTorch
