"""Handwritten digits that come with scikit-learn: 1,797 grey images of 8x8 pixels (UCI, Alpaydin and Kaynak 1998)."""

import numpy as np

from resnet_nb.draws import SPLIT, permutation

CLASSES = tuple("0123456789")
TRAIN = 1_400


def read() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (N, 16, 16, 1) uint8 and labels (N,) of "train" (1,400) and "test" (397).

    Values 0 to 16 become round(255 v / 16), and each pixel is repeated twice in both directions: exact, whatever the resampling library.
    The training images are the first 1,400 of draws.permutation(0, SPLIT, 0, 1797) over scikit-learn's order.
    """
    from sklearn.datasets import load_digits  # slow to import, and needed here alone

    bunch = load_digits()
    images = np.rint(bunch.images * 255 / 16).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)[..., np.newaxis]
    order = permutation(0, SPLIT, 0, len(images))
    return {
        "train": (images[order[:TRAIN]], bunch.target[order[:TRAIN]]),
        "test": (images[order[TRAIN:]], bunch.target[order[TRAIN:]]),
    }
