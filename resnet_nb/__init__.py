"""resnet_nb: the helper package of the notebooks about residual networks and their published numbers."""

import os

__version__ = "0.1.0"

# Before torch is imported: its threads wait asleep and not in a loop. On two cores that other work shares, a step of a small net
# on two threads took 0.6 s so, and 9 s in a loop; the variable's owner may say otherwise.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
