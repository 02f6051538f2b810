"""What holds for every test, the notebooks that nbval runs among them.

The variables are set before anything imports torch, and the kernels inherit them. One thread per process: two workers
share two cores, and sums are added in the same order however many workers there are.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT / "benchmarks")]

os.environ["RESNET_NB_PROGRESS"] = "off"
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["nbval_scheme"]
