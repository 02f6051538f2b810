"""From recorded views every protocol is computed as by hand, and half precision changes next to nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from resnet_nb.errors import InputError
from resnet_nb.records.views import COLUMNS, Views, load, log_posterior, save, together


def views(count: int = 20, seed: int = 0) -> Views:
    """Two crops at one short side, three passes at another."""
    random = np.random.default_rng(seed)
    rows = [("crop", 32, 0, "centre", False, ""), ("crop", 32, 0, "centre", True, "")]
    rows += [("dense", 40, 0, "whole", False, "softmax"), ("dense", 40, 0, "whole", True, "softmax"), ("dense", 40, 0, "whole", False, "pooled")]
    logits = random.normal(0, 3, (count, 5, 4)).astype(np.float32)
    names = tuple(f"{place}.png" for place in range(count))
    return Views(logits, random.integers(0, 4, count), names, pd.DataFrame(rows, columns=list(COLUMNS)), {"model": "resnet20"})


def test_each_short_side_counts_once_whatever_its_number_of_views() -> None:
    found = views()
    by_hand = softmax(found.logits.astype(float), axis=2)
    by_hand = (by_hand[:, :2].mean(1) + by_hand[:, 2:].mean(1)) / 2
    assert found.posterior() == pytest.approx(by_hand, rel=1e-5)
    logits = (found.logits[:, :2].mean(1) + found.logits[:, 2:].mean(1)) / 2
    assert found.posterior("logits") == pytest.approx(softmax(logits, axis=1), rel=1e-4)


def test_a_coarser_protocol_is_the_same_as_its_views_alone() -> None:
    found = views()
    alone = found.where(form="crop", mirrored=False)
    assert alone.posterior() == pytest.approx(softmax(found.logits[:, 0], axis=1), rel=1e-5)
    assert found.where(form="dense", rule="softmax").logits.shape[1] == 2 and found.where(short=(32, 40)).logits.shape[1] == 5
    assert found.where(form="crop").error() == 100 * np.mean(found.where(form="crop").posterior().argmax(1) != found.labels)
    with pytest.raises(InputError, match="No recorded view has short 48"):
        found.where(short=48)


@given(st.integers(0, 1000))
def test_averaging_never_raises_the_mean_loss(seed: int) -> None:
    """Jensen: the loss of the mean posterior is at most the mean of the views' losses."""
    random = np.random.default_rng(seed)
    logits, labels = random.normal(0, 4, (12, 6, 5)), random.integers(0, 5, 12)
    shorts = np.zeros(6)
    losses = [-log_posterior(logits[:, [view]], shorts[:1])[np.arange(12), labels].mean() for view in range(6)]
    assert -log_posterior(logits, shorts)[np.arange(12), labels].mean() <= np.mean(losses) + 1e-12


def test_an_ensemble_averages_its_members() -> None:
    one = views(seed=0)
    other = replace(views(seed=1), labels=one.labels)
    assert together([one, other]).posterior() == pytest.approx((one.posterior() + other.posterior()) / 2, rel=1e-5)
    assert together([one, one]).posterior() == pytest.approx(one.posterior(), rel=1e-5)
    with pytest.raises(InputError, match="same pictures"):
        together([one, views(count=19)])
    with pytest.raises(InputError, match="same labels"):
        together([one, replace(one, labels=(one.labels + 1) % 4)])
    with pytest.raises(InputError, match="same classes"):
        together([one, replace(one, logits=one.logits[:, :, :3])])


def test_what_is_saved_is_what_is_loaded_to_half_precision(tmp_path: Path) -> None:
    found = views()
    assert save(tmp_path / "v.npz", found) == 0
    back = load(tmp_path / "v.npz")
    assert back.logits == pytest.approx(found.logits, rel=2**-10) and (back.labels == found.labels).all()
    assert (back.names, back.about) == (found.names, found.about) and back.views.equals(found.views)
    tie = views(1)
    tie.logits[0, 0] = [8.0, 8.001, 0, 0]  # closer than half precision can tell
    assert save(tmp_path / "v.npz", tie) == 1


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "v.npz"
    if content is None:
        save(path, views())
        content = path.read_bytes()[:-200]
    path.write_bytes(content)
    with pytest.raises(InputError, match="v.npz is damaged"):
        load(path)
    with pytest.raises(InputError, match="There is no file of recorded views"):
        load(tmp_path / "absent.npz")


def test_one_flipped_bit_is_found_or_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    save(path, views())
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for place, bit in zip(random.integers(0, len(content), 300), random.integers(0, 8, 300), strict=True):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :])
        try:
            load(path)
        except InputError as error:
            assert "v.npz" in str(error)


def test_scores_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    found = views()
    found.logits[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        save(tmp_path / "v.npz", found)
    assert not list(tmp_path.iterdir())
