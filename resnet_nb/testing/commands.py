"""The words of a command that repeats an evaluation, as records and recorded views keep them."""

import shlex
from collections.abc import Sequence

from resnet_nb.protocols.choices import Choices
from resnet_nb.testing.members import Given

WHOLE = "all"  # the split that says nothing


def option_words(
    *,
    parts: Sequence[str],
    protocols: Sequence[str],
    given: Given,
    choices: Choices,
    precision: str,
    width: int | None = None,
    norm: str | None = None,
    conv_bias: bool = False,
    image_size: int | None = None,
    split: str = WHOLE,
) -> list[str]:
    """The options of `resnet-nb evaluate` that decide its numbers, without those that are as by default."""
    options = {
        "split": None if split == WHOLE else split, "image-size": image_size, "on": ",".join(parts), "protocol": ",".join(protocols),
        "mean": given.mean, "std": given.std, "normalise": given.normalise, "width": width, "norm": norm, "resize": choices.resize,
        "crop": choices.crop, "scales": ",".join(map(str, choices.scales)) or None, "rule": choices.rule,
        "pad": ",".join(map(str, choices.pads)) or None,
        "interpolation": choices.interpolation, "resizer": choices.resizer, "precision": None if precision == "float32" else precision,
    }  # fmt: skip
    words = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    mirror = {None: [], True: ["--mirror"], False: ["--no-mirror"]}[choices.mirror]
    return [*words, *(["--conv-bias"] if conv_bias else []), *mirror]


def evaluate_command(model: str, data: str, words: Sequence[str], weights: str) -> str:
    """The command: `weights` as the shell shall see them, and `$RESNET_NB_DATA` for the data."""
    root = "" if data == "digits" else ' --data-root "$RESNET_NB_DATA"'
    return f"{shlex.join(['resnet-nb', 'evaluate', model, '--data', data, *words])} --weights {weights}{root}"
