"""What lesions, responses, paths and slices of the loss say of the sentences about residual blocks (notebook 03)."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from resnet_nb.findings.verdicts import Verdict, below, complete

CHANCE = 90.0  # percent, of ten classes of equal size
SURVIVES, LOST = 0.1, 0.5  # shares of the way from the intact net's error to chance, by the median deletion
MOST = 0.95  # of the gradient's magnitude


def damage(lesions: pd.DataFrame, chance: float = CHANCE) -> pd.DataFrame:
    """What the loss of one block does to each net: a row a net, from the rows of `probes.lesions.delete_each` with columns model, family, depth.

    lesions: may hold the columns owner and seed, which tell nets apart. Blocks that change the shape do not count. Columns, besides these: intact
    and median, worst (errors in percent), rise (the median's, in points), damage (the rise as a share of the way to `chance`), fate ("survives"
    below a tenth, "is lost" above a half, else "suffers"; "unknown" where damage is missing, as it is for an intact net no better than chance).
    Raises ValueError for a net without a row of its intact error (block "none").
    """
    keys = [name for name in ("owner", "model", "family", "depth", "seed") if name in lesions]
    rows = []
    for key, group in lesions.groupby(keys, sort=False):
        before = group.loc[group["block"] == "none", "error"]
        if before.empty:
            raise ValueError(f"There is no row with the block 'none', the intact net's error, for {' '.join(map(str, key))}.")
        intact = float(before.iloc[0])
        after = group.loc[(group["block"] != "none") & ~group["downsampling"].astype(bool), "error"]
        median = after.median(skipna=False)
        share = (median - intact) / (chance - intact) if intact < chance else np.nan
        fate = "unknown" if np.isnan(share) else "survives" if share < SURVIVES else "is lost" if share > LOST else "suffers"
        rows.append((*key, intact, median, after.max(), median - intact, share, fate))
    return pd.DataFrame(rows, columns=[*keys, "intact", "median", "worst", "rise", "damage", "fate"])


def survival(lesions: pd.DataFrame, chance: float = CHANCE) -> Verdict:
    """A deep residual net survives the loss of a block, a shallow one suffers, a plain net does not survive (Veit et al. 2016, section 4.1).

    Supported where every net of the deepest residual depth survives, every one of the shallowest suffers more than all of these and by a tenth of
    the way to chance at least, and every plain net is lost. None where the table lacks one of the three, an error is missing, an intact net is no
    better than chance, or a share is exactly at its bound.
    """
    text = "A deep residual net survives the loss of a block, a shallow one suffers, a plain net does not survive"
    table = damage(lesions, chance)
    residual, plain = table[table["family"] == "residual"], table[table["family"] == "plain"]
    deep, shallow = (residual[residual["depth"] == pick] for pick in (residual["depth"].max(), residual["depth"].min()))
    if plain.empty or residual["depth"].nunique() < 2:
        return Verdict(text, None, "It takes a plain net and residual nets of two depths.")
    compared = pd.concat([deep, shallow, plain])
    if not complete(compared["damage"]):
        return Verdict(text, None, "An error is missing or not finite, or a net is no better than chance before any block is deleted.")
    suffers = below(deep["damage"].max(), shallow["damage"].min())[0] if (shallow["damage"] >= SURVIVES).all() else False
    parts = {
        f"residual, {deep['depth'].iloc[0]} layers": (deep, below(deep["damage"], SURVIVES)[0]),
        f"residual, {shallow['depth'].iloc[0]} layers": (shallow, suffers),
        "plain": (plain, below(LOST, plain["damage"])[0]),
    }
    words = [f"{name}: {_between(nets['intact'])} % intact, {_between(nets['median'])} % without a block" for name, (nets, _) in parts.items()]
    failed, tied = ([name for name, (_, holds) in parts.items() if holds is which] for which in (False, None))
    doubt = f"; it fails for {', '.join(failed)}" if failed else f"; a share is exactly at its bound for {', '.join(tied)}" if tied else ""
    return Verdict(text, False if failed else None if tied else True, f"{'; '.join(words)} (median block){doubt}.")


def smaller_when_deeper(responses: pd.DataFrame) -> Verdict:
    """Deeper residual nets have smaller responses (the paper, section 4.2, Figure 7): the mean over layers falls from each depth to the next.

    responses: rows of `probes.responses.layer_responses` with columns family, depth and, where nets of several people or seeds are in it, owner or
    seed, within which depths are compared. None where no such group has residual nets of two depths, a response is missing, or two means are equal
    and none rises.
    """
    text = "Deeper residual nets have smaller responses"
    found, before, after = [], [], []
    for name, means in _means(responses, "residual"):
        if len(means) > 1:
            found.append(f"{name}{', '.join(f'{value:.2f} at {depth}' for depth, value in means.items())}")
            before.extend(means.iloc[:-1])
            after.extend(means.iloc[1:])
    if not found:
        return Verdict(text, None, "It takes residual nets of two depths by the same people.")
    supported, doubt = below(after, before)
    return Verdict(text, supported, f"Mean response by depth: {'; '.join(found)}.{doubt}")


def smaller_than_plain(responses: pd.DataFrame) -> Verdict:
    """Residual nets have smaller responses than plain ones of their depth (Figure 7's other message), by the mean over layers.

    responses: as in `smaller_when_deeper`; None where no group has both families at one depth, a response is missing, or two means are equal and no
    plain net's is smaller.
    """
    text = "Residual nets have smaller responses than their plain counterparts"
    plain, found, residuals, plains = dict(_means(responses, "plain")), [], [], []
    for name, means in _means(responses, "residual"):
        for depth in means.index.intersection(plain.get(name, pd.Series(dtype=float)).index):
            found.append(f"{name}{depth} layers: residual {means[depth]:.3f}, plain {plain[name][depth]:.3f}")
            residuals.append(means[depth])
            plains.append(plain[name][depth])
    if not found:
        return Verdict(text, None, "It takes a plain and a residual net of one depth by the same people.")
    supported, doubt = below(residuals, plains)
    return Verdict(text, supported, f"Mean response: {'; '.join(found)}.{doubt}")


def path_range(paths: pd.DataFrame, most: float = MOST) -> tuple[int, int]:
    """The shortest range of path lengths that holds `most` of the gradient's magnitude, from one net's rows of `probes.paths.path_lengths`.

    Raises ValueError where a share is missing or all of them together hold less.
    """
    share = paths.sort_values("length")["share"].to_numpy()
    lengths = np.sort(paths["length"].to_numpy())
    sums = np.concatenate([[0], np.cumsum(share)])
    ranges = [(high - low, low, high) for low in range(len(share)) for high in range(low, len(share)) if sums[high + 1] - sums[low] >= most]
    if not complete(share) or not ranges:
        raise ValueError(f"The shares are not all there, or hold less than {most:.0%} together.")
    _, low, high = min(ranges)
    return int(lengths[low]), int(lengths[high])


def short_paths(paths: pd.DataFrame, most: float = MOST) -> Verdict:
    """Most of the gradient comes by paths far shorter than the net (Veit et al. 2016): the range that holds 95 % ends below half of the blocks.

    paths: rows of `probes.paths.path_lengths` of every length, with columns owner (or seed) and model; supported where it holds of each net. None
    where a net lacks a length or a share, its shares hold less than `most` together, or a range ends at half of the blocks and none above.
    """
    text = "Almost all of the gradient comes by paths that are shorter than half of the blocks"
    found, ends, halves = [], [], []
    keys = [name for name in ("owner", "model", "seed") if name in paths]
    for key, net in paths.groupby(keys, sort=False):
        name, lengths = " ".join(map(str, key)), net["length"].sort_values().to_numpy()
        # one path alone goes through every block: more of them at the greatest length, and longer ones were left out
        if not np.array_equal(lengths, np.arange(len(lengths))) or ("paths" in net and net.loc[net["length"].idxmax(), "paths"] != 1):
            return Verdict(text, None, f"{name}: not every length from 0 to the number of blocks is there once.")
        try:
            low, high = path_range(net, most)
        except ValueError as error:
            return Verdict(text, None, f"{name}: {error}")
        blocks = len(lengths) - 1
        found.append(f"{name}: {low} to {high} of {blocks} blocks")
        ends.append(high)
        halves.append(blocks / 2)
    supported, doubt = below(ends, halves)
    return Verdict(text, supported, f"{most:.0%} of the magnitude: {'; '.join(found)}.{doubt}" if found else "There is no net.")


def basins(lines: pd.DataFrame, chance: float = CHANCE) -> pd.DataFrame:
    """How far along a direction a net stays better than half way to chance: a row for each net, direction and kind of statistics.

    lines: rows of `probes.landscape.line` with columns model, family, depth, direction, statistics. Columns, besides these: width (the length of the
    stretch of points around 0 whose error is below the mean of the smallest error and chance, in steps), dips (local minima of the loss, the
    ends left out: 1 for a bowl), least (the loss's smallest value).
    """
    keys = [name for name in ("owner", "model", "family", "depth", "direction", "statistics") if name in lines]
    rows = []
    for key, group in lines.groupby(keys, sort=False):
        group = group.sort_values("step")
        steps, errors, losses = (group[name].to_numpy() for name in ("step", "error", "loss"))
        good = errors < (errors.min() + chance) / 2
        middle = int(np.abs(steps).argmin())
        low = high = middle
        while low > 0 and good[low - 1]:
            low -= 1
        while high < len(steps) - 1 and good[high + 1]:
            high += 1
        inner = (losses[1:-1] < losses[:-2]) & (losses[1:-1] < losses[2:])
        rows.append((*key, float(steps[high] - steps[low]) if good[middle] else 0.0, int(inner.sum()), float(losses.min())))
    return pd.DataFrame(rows, columns=[*keys, "width", "dips", "least"])


def wider_basin(lines: pd.DataFrame, chance: float = CHANCE) -> Verdict:
    """A residual net's loss rises more slowly around its weights than that of a plain net of its depth, in every direction that was measured.

    lines: as in `basins`; None where no depth has both families by the same people, an error is missing, a net is nowhere better than chance, or both
    stay good for the whole length that was measured and nothing else counts against it. Within that length an equal width is not a longer one.
    """
    text = "Along filter-normalised directions a residual net stays good for longer than the plain net of its depth"
    table = basins(lines, chance)
    keys = [name for name in ("owner", "depth", "direction", "statistics") if name in table]
    both = table.pivot_table(index=keys, columns="family", values="width")
    both = both.dropna() if {"plain", "residual"} <= set(both.columns) else both.iloc[:0]
    if both.empty:
        return Verdict(text, None, "It takes a plain and a residual net of one depth by the same people.")
    nets = lines.groupby([*keys, "family"])
    if not complete(lines[["step", "error"]]) or (nets["error"].min() >= chance).any():
        return Verdict(text, None, "An error is missing or not finite, or a net is nowhere better than chance.")
    words = [
        f"{row['depth']} layers ({row['statistics']} statistics): residual {row['residual']:.2f}, plain {row['plain']:.2f}"
        for row in both.reset_index().to_dict("records")
    ]  # fmt: skip
    longer = both["residual"] > both["plain"]
    spans = (nets["step"].max() - nets["step"].min()).unstack("family").loc[both.index, both.columns]
    untold = (both == spans).all(axis=1)  # where either would end lies outside
    supported = True if longer.all() else None if (longer | untold).all() else False
    doubt = " Both stay good for the whole length that was measured." if supported is None else ""
    return Verdict(text, supported, f"Width of the stretch below half way to chance: {'; '.join(words)}.{doubt}")


def _means(responses: pd.DataFrame, family: str) -> Iterator[tuple[str, pd.Series]]:
    """For each owner or seed, its name and the mean response by depth, ascending; missing where one of the responses is."""
    keys = [name for name in ("owner", "seed") if name in responses]
    group = responses[responses["family"] == family]
    for key, rows in group.groupby(keys, sort=False) if keys else [((), group)]:
        name = "".join(f"{word} " if kind == "owner" else f"{kind} {word} " for kind, word in zip(keys, key, strict=True))
        yield name, rows.groupby("depth")["response"].agg(lambda values: values.mean(skipna=False)).sort_index()


def _between(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:.1f}" if round(low, 1) == round(high, 1) else f"{low:.1f} to {high:.1f}"
