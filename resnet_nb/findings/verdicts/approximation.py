"""What the universal approximation theorem promises and what it does not, judged by nets made by hand and by trained ones."""

import pandas as pd

from resnet_nb.findings.verdicts import MISSING, Verdict, below, complete

EXACT = 1e-9  # of values between 0 and 1
FOUND = 0.02  # a mean absolute error at which a fit of a curve between 0 and 1 is seen to follow it; a constant has 0.25 on a sawtooth
AS_GOOD = 2.0  # the ratio of errors up to which two forms are called equally good
UNTOLD = "one seed alone, or a loss or an error that is missing or not finite"


def exists(hand: pd.DataFrame) -> Verdict:
    """"One hidden layer, wide enough, can represent the target", from the rows of `approximation.by_hand`."""
    exact, doubt = below(hand["wide_error"], EXACT)
    if exact is None:
        return Verdict("Nothing tells whether the wide nets made by hand are exact.", None, doubt.strip())
    worst = float(hand["wide_error"].max())
    why = f"the wide nets' largest error is {worst:.1g} up to {hand['pieces'].max()} pieces"
    if exact:
        return Verdict("One hidden layer that is wide enough represents every sawtooth here.", True, why)
    return Verdict("The wide nets made by hand are not exact.", False, why)


def needs_no_depth(hand: pd.DataFrame) -> Verdict:
    """"So depth is not needed": at the parameters of the exact deep net, can one layer do it too?"""
    text = "Nothing here tells deep nets from wide ones of as many parameters."
    if not complete(hand[["deep_error", "equal_least_error"]]):
        return Verdict(text, None, MISSING)
    exact, bound = float(hand["deep_error"].max()) < EXACT, hand[hand["equal_least_error"] > 0]
    if not exact or bound.empty:
        return Verdict(text, None, "no bound above 0 beside an exact deep net")
    last = bound.iloc[-1]
    why = (
        f"{last['pieces']:.0f} pieces: {last['deep_parameters']:.0f} parameters are exact in depth; one layer of as many errs by "
        f"{last['equal_least_error']:.3f} or more, and is exact with {last['wide_parameters']:.0f}"
    )
    return Verdict("At equal parameters depth represents what one layer cannot.", False, why)


def best_rate(fits: pd.DataFrame) -> pd.DataFrame:
    """The rows of `approximation_runs.fit_curves` at the rate with the least median training loss, for each form and target."""
    keys = ["form", "target", "pieces"]
    median = fits.groupby([*keys, "rate"])["loss"].median().reset_index()
    chosen = median.loc[median.groupby(keys)["loss"].idxmin(), [*keys, "rate"]]
    return fits.merge(chosen, on=[*keys, "rate"])


def _comparable(fits: pd.DataFrame) -> pd.DataFrame:
    """The rows at the best rate; none where a loss or an error is missing or not finite, or where a form has one seed alone on a target."""
    if fits.empty or fits["loss"].isna().any():
        return fits.iloc[:0]
    rows = best_rate(fits)
    several = rows.groupby(["form", "target", "pieces"])["seed"].nunique().min() > 1
    return rows if several and complete(rows[["loss", "error"]]) else rows.iloc[:0]


def training_finds_it(fits: pd.DataFrame, form: str = "wide") -> Verdict:
    """"What a net can represent, training finds", for sawtooths that this form has an exact net for. Not supported where a median misses.

    None without rows, with one seed, and where a loss or an error is missing or not finite.
    """
    fits = fits[(fits["form"] == form) & (fits["target"] == "sawtooth")]
    if fits.empty:
        return Verdict("No sawtooth was fitted.", None, "no rows")
    errors = _comparable(fits).groupby("pieces")["error"].median()
    if errors.empty:
        return Verdict(f"Nothing tells whether training finds the {form} net.", None, UNTOLD)
    missed = errors[errors > FOUND]
    if missed.empty:
        return Verdict(f"Training found every sawtooth with the {form} net.", True, f"median errors up to {errors.max():.3f}")
    why = f"at {missed.index.min()} pieces it errs by {missed.iloc[0]:.3f}; a net of this size is exact up to {errors.index.max()} and more"
    return Verdict(f"Training does not find the {form} net that exists.", False, why)


def depth_matters(fits: pd.DataFrame, target: str, pieces: int = 0) -> Verdict:
    """"Trained at equal parameters, depth makes no difference" on one target: medians of the best of the deep forms against the wide net.

    None without both, with one seed of a form, where a loss or an error is missing or not finite, and where the seeds overlap.
    """
    fits = fits[(fits["target"] == target) & (fits["pieces"] == pieces)]
    if "wide" not in set(fits["form"]) or fits["form"].nunique() < 2:
        return Verdict("The wide net and a deep one were not both fitted.", None, "nothing to compare")
    rows = _comparable(fits)
    if rows.empty:
        return Verdict("Nothing tells the forms apart.", None, UNTOLD)
    median = rows.groupby("form")["error"].median()
    deep = median.drop("wide").idxmin()
    one, other = rows[rows["form"] == "wide"]["error"], rows[rows["form"] == deep]["error"]
    why = f"median error {median['wide']:.4f} wide, {median[deep]:.4f} {deep}"
    if max(median["wide"], median[deep]) <= FOUND or max(median["wide"], median[deep]) <= AS_GOOD * min(median["wide"], median[deep]):
        return Verdict("Wide and deep fit it about as well.", True, why)
    if one.min() > other.max() or other.min() > one.max():
        better = deep if median[deep] < median["wide"] else "wide"
        return Verdict(f"The {better} net fits it better, with every seed.", False, why)
    return Verdict("The seeds do not tell the forms apart.", None, why)
