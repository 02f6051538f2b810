"""What the file of a record is called, and whether two records are of one run."""

import re


def run_name(record: dict) -> str:
    """The file name of a record, from what decides its numbers: `plain20-digits-quick-digits-w8-s0`.

    Of an evaluation: the weights' owner and the first digits of their checksum, `resnet20-cifar10-akamaster-12fca82f`; of a probe, its name as well.
    """
    model, data = record["model"], record["data"]
    words = [model["name"].replace(":", "-"), data["name"]]
    split = [data["split"].replace("/", "+")] if data["split"] != "all" else []
    if record["kind"] != "training":
        weights = record["weights"]
        probe = [record["probe"]] if record["kind"] == "probe" else []
        return "-".join([*words, weights["repository"].split("/")[0], weights["sha256"][:8], *split, *probe])
    recipe = record["recipe"]
    words += [recipe["name"].replace(",", "-").replace("=", "")]
    words += [f"w{model['width']}"] if model["width"] is not None else []
    words += [re.sub("[:@]", "-", model["init"])] if model["init"] != "he-fan-in" else []
    words += [f"norm-{model['norm']}"] if "norm" in model else []
    words += [f"i{record['iterations']}"] if record["iterations"] != recipe["iterations"] else []
    return "-".join([*words, *split, f"s{record['seed']}"])


def identity(record: dict) -> dict:
    """What two records have in common that are of the same run, of the same evaluation, or of the same probe."""
    if record["kind"] == "training":
        return {key: record[key] for key in ("kind", "model", "data", "recipe", "seed", "iterations")}
    if record["kind"] == "probe":
        return {key: record[key] for key in ("kind", "probe", "settings", "model", "weights", "data", "normalisation")}
    asked = [(row["part"], row["protocol"]) for row in record["results"]]  # not the settings: the first records do not name them
    return {**{key: record[key] for key in ("kind", "model", "weights", "data", "normalisation")}, "parts and protocols": asked}


def family_and_depth(model: str) -> tuple[str | None, int | None]:
    """ "plain" or "residual" and the depth, for the names of the paper's nets; (None, None) for others."""
    match = re.fullmatch(r"(?:cifar:|imagenet:)?(plain|resnet)([1-9][0-9]*)(?:-[ABC])?", model)
    return ("plain" if match[1] == "plain" else "residual", int(match[2])) if match else (None, None)
