"""Named data sets as uint8 tensors on a device.

digits      scikit-learn's handwritten digits, 16x16 grey, 1,400 to train and 397 to test; embedded, the default
cifar10     50,000 and 10,000 colour images of 32x32 pixels, 10 classes
cifar100    the same with 100 classes
folder      one's own images: train/CLASS/FILE and test/CLASS/FILE (or val)

On loading, images are put in canonical order (label, then SHA-256 of the pixels), so that every form of a data set has
the same fingerprint and gives the same batches and splits.
"""

from resnet_nb.data.cifar import Found
from resnet_nb.data.load import KNOWN_FINGERPRINTS, NAMES, available, describe, find, load_data
from resnet_nb.data.sets import Data, Images

__all__ = ["KNOWN_FINGERPRINTS", "NAMES", "Data", "Found", "Images", "available", "describe", "find", "load_data"]
