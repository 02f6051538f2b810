"""Handwritten digits that come with scikit-learn: 1,797 grey images of 8x8 pixels (UCI, Alpaydin and Kaynak 1998)."""

import numpy as np

from resnet_nb.data.draws import SPLIT, permutation
from resnet_nb.data.sets import Part

CLASSES = tuple("0123456789")
TRAIN = 1_400


def read_digits() -> dict[str, Part]:
    """Images (N, 16, 16, 1) uint8 and labels of "train" (1,400) and "test" (397).

    Values v of 0 to 16 become round(255 v / 16), half to even, and each pixel is repeated twice in both directions:
    exact, with no resampling library. The training images are the first 1,400 of draws.permutation(0, SPLIT, 0, 1797),
    places in scikit-learn's order.
    """
    from sklearn.datasets import load_digits  # slow to import, and needed here alone

    bunch = load_digits()
    pixels = np.rint(bunch.images * 255 / 16).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)[..., np.newaxis]
    everything = Part(pixels, bunch.target.astype(np.int64))
    train, test = np.split(permutation(0, SPLIT, 0, len(pixels)), [TRAIN])
    return {"train": everything.take(train), "test": everything.take(test)}
