"""The answers of `resnet-nb evaluate` in words, for standard output and standard error."""

from collections.abc import Iterator

SMALLEST = 1e-300  # chances below it may have underflowed
SHOWN = 20  # unreadable pictures by name; the rest is counted


def lines(answer: dict) -> Iterator[str]:
    """One line a protocol, then one a comparison. answer: of `measure.measure`, or a record of it."""
    model, data = answer["model"]["name"], answer["data"]["name"]
    others = [member["model"]["name"] for member in answer.get("ensemble", ())]
    for row in answer["results"]:
        low, high = row["top1_interval"]
        yield (
            f"{' + '.join([model, *others])}, {row['protocol']}{_sizes(row)}, {row['images']:,} {row['part']} images of {data}: "
            f"top-1 error {row['top1_error']:.2f} % (95 %: {low:.2f} to {high:.2f}), top-5 error {row['top5_error']:.2f} %{_flips(row)}"
        )
    for row in answer.get("comparisons", ()):
        low, high = row["interval"]
        yield (
            f"{row['b']} against {row['a']}, {row['part']}: {row['difference']:+.2f} points (95 %: {low:+.2f} to {high:+.2f}); "
            f"only {row['a']} right {row['only_a']:,}, only {row['b']} right {row['only_b']:,}, McNemar's exact p {_chance(row['p'])}"
        )


def remarks(answer: dict) -> Iterator[str]:
    """What has to be known of the data and of the pictures that could not be read."""
    yield from answer.get("notes", ())
    unreadable = answer.get("unreadable", ())
    for failure in unreadable[:SHOWN]:
        yield f"not read: {failure['reason']}"
    if unreadable:
        more = f" ({len(unreadable) - SHOWN:,} more of them in --json)" if len(unreadable) > SHOWN else ""
        pictures = "1 picture was" if len(unreadable) == 1 else f"{len(unreadable):,} pictures were"
        yield f"{pictures} not read and left out{more}."


def _sizes(row: dict) -> str:
    """What a protocol was measured with, where that is more than the whole small image."""
    settings = row.get("settings")
    plain = settings is None or (row["protocol"] == "1-crop" and settings["resize"] is None)
    if plain and not (settings and settings["mirror"]):
        return ""
    shorts = "+".join(map(str, settings["scales"])) or settings["resize"] or "as it is"
    padded = f", padded {settings['pad']}" if settings["pad"] else ""
    mirrors = {True: ", mirrors averaged", False: ", no mirrors"}[settings["mirror"]] if row["protocol"] != "10-crop" else ""
    return f" (short side {shorts}{padded}, crop {settings['crop']}{mirrors}, {settings['rule']})"


def _chance(p: float) -> str:
    return f"= {p:.2g}" if p > SMALLEST else f"< {SMALLEST:g}"


def _flips(row: dict) -> str:
    if "flipped" not in row:
        return ""
    return f"; in {row['precision']} {row['flipped']:,} of {row['compared_in_float32']:,} predictions differ from float32's"
