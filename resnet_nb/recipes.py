"""Training recipes as data. A recipe says everything about training except the model, the data and the seed.

Where He et al. (2015, section 4.2) are silent, the choice is a field of its own, so that it can be named and changed.
"""

import dataclasses
import math
from dataclasses import dataclass

from resnet_nb.errors import InputError

# fields added since, and the value with which a recipe is what it was
LATER = {
    "stop_at_loss": 0.0, "clip_norm": 0.0, "step_limit": 0.0, "keep_norms": False, "scales": (), "precision": "float32", "crop": 0, "short_sides": (),
    "colour": "none",
}  # fmt: skip
SILENT = {"name", "curve_every", "evaluations", "warmup_from_depth"}  # fields that change no number of a run
LEAST = {
    "batch_size": 1, "iterations": 1, "curve_every": 1, "evaluations": 1, "average_batches": 1, "weight_decay": 0, "pad": 0,
    "warmup_iterations": 0, "warmup_rate": 0, "warmup_from_depth": 0, "stop_at_loss": 0, "clip_norm": 0, "step_limit": 0,
    "crop": 0,
}  # fmt: skip
CHOICES = {
    "momentum_form": ("caffe", "torch"),
    "decay_on": ("weights", "all"),
    "normalise": ("pixel-mean", "channel-mean", "channel-mean-std"),
    "border": ("mean", "black"),
    "statistics": ("moving", "average"),
    "precision": ("float32", "bfloat16"),
    "colour": ("none", "pca"),
}
RISING = {"drops": "iterations", "scales": "sides in pixels", "short_sides": "pixels"}  # fields that are numbers in rising order, and of what


@dataclass(frozen=True)
class Recipe:
    """One recipe. Iterations count mini-batches; rates are learning rates.

    batch_size, iterations, rate, drops, momentum, weight_decay, pad, flip: section 4.2. The rate is divided by 10 at each drop.
    warmup_iterations, warmup_rate: the rate before the schedule begins, for nets of at least `warmup_from_depth` layers. The paper
        holds 0.01 until the training error is under 80 %, "about 400 iterations", for 110 layers; the drops stay where they are.
    momentum_form: "caffe" is v = m v + rate g, w -= v (the authors' README); "torch" is v = m v + g, w -= rate v. They differ after
        a change of the rate alone: the first goes on with the old velocity.
    decay_on: "weights" of convolutions and classifier (the authors, after fb.resnet.torch's README and Goyal et al. 2017), or "all" parameters.
    normalise: what is subtracted from images in [0, 1]: the "pixel-mean" of the training images (the paper), the "channel-mean", or the
        latter followed by a division by the channels' standard deviation.
    border: what the crop's padding holds: the "mean" (zeros after the subtraction, as fb.resnet.torch pads) or "black" (zeros before).
    statistics: batch normalisation at test time: "moving" averages, or their "average" over `average_batches` training batches after the
        last iteration (the authors' README, for their ImageNet models).
    curve_every: iterations between two points of the running loss and error; evaluations: how often a run of full length is evaluated.
    stop_at_loss: a run ends at the first point of the running loss that is under it; 0 is never reached.
    clip_norm: the largest norm that the gradient of all parameters together may have; 0 is no limit.
    step_limit: the largest norm of a convolution's step, as a share of the norm of its weights; 0 is no limit. The velocity stays as it is.
    keep_norms: after each step, give every convolution's weights the norm that they had before it; behind batch normalisation that changes no
        function, and the next step turns them as far as if they had not grown.
    scales: short sides in pixels (section 3.4, after Simonyan and Zisserman): at each iteration every image is enlarged to one of them, drawn
        with equal chances, and the crop has the images' own size. None: the images as they are. A mean for each pixel fits one side alone.
    precision: of the training step's forward and backward pass: "float32", or "bfloat16" where autocast thinks it safe. The weights, their
        updates, the loss and all evaluation are in float32 in any case.
    crop: side in pixels of the crops from photographs (section 3.4), which are read from their files while the net trains; 0 for small images,
        all of one size, which lie on the device. A crop is random in training. In evaluation it is the centre of the picture whose short side
        is the least of `short_sides`: 224 of 256 in the paper. A pixel-mean is then that of the centre crops of training images, as the authors'
        mean image is one of the crop's size.
    short_sides: least and greatest short side of a photograph that a crop is taken from, drawn uniformly among the whole numbers between.
    colour: "pca" adds to all pixels of a crop one draw along the principal components of the training images' colours, with standard deviation
        0.1 times their variances in [0, 1] (Krizhevsky et al. 2012, section 4.1, in the units of fb.resnet.torch); "none" leaves colours alone.
    """

    name: str
    batch_size: int = 128
    iterations: int = 64_000
    rate: float = 0.1
    drops: tuple[int, ...] = (32_000, 48_000)
    momentum: float = 0.9
    weight_decay: float = 1e-4
    pad: int = 4
    flip: bool = True
    warmup_iterations: int = 400
    warmup_rate: float = 0.01
    warmup_from_depth: int = 110
    momentum_form: str = "caffe"
    decay_on: str = "weights"
    normalise: str = "pixel-mean"
    border: str = "mean"
    statistics: str = "moving"
    average_batches: int = 400
    curve_every: int = 100
    evaluations: int = 16
    stop_at_loss: float = 0.0
    clip_norm: float = 0.0
    step_limit: float = 0.0
    keep_norms: bool = False
    scales: tuple[int, ...] = ()
    precision: str = "float32"
    crop: int = 0
    short_sides: tuple[int, ...] = ()
    colour: str = "none"

    def __post_init__(self) -> None:
        for field, choices in CHOICES.items():
            if getattr(self, field) not in choices:
                raise InputError(f"Recipe field {field} is {getattr(self, field)!r}: choose one of {', '.join(choices)}.")
        for field in RISING:
            object.__setattr__(self, field, tuple(getattr(self, field)))
        for field, least in LEAST.items():
            value = getattr(self, field)
            if not (math.isfinite(value) and value >= least):
                raise InputError(f"Recipe field {field} is {value}: it is a finite number, at least {least}.")
        if not 0 < self.rate < math.inf or not 0 <= self.momentum < 1:
            raise InputError(f"Rate {self.rate} and momentum {self.momentum}: the rate is greater than 0, the momentum at least 0 and less than 1.")
        for field, what in RISING.items():
            numbers = getattr(self, field)
            if list(numbers) != sorted(set(numbers)) or min(numbers, default=1) < 1:
                raise InputError(f"Recipe field {field} is {_shown(numbers)}: {what} in rising order, or none.")
        if self.scales and self.normalise == "pixel-mean":
            raise InputError("Recipe field scales needs a mean that fits images of every side: add normalise=channel-mean or channel-mean-std.")
        if self.crop:
            self._check_photographs()
        elif self.short_sides or self.colour != "none":
            raise InputError("Recipe fields short_sides and colour are for photographs: add crop=224, or leave them out.")

    def _check_photographs(self) -> None:
        sides = self.short_sides
        if len(sides) != 2 or sides[0] < self.crop:
            shown = _shown(sides)
            raise InputError(f"Recipe field short_sides is {shown}: the least, at least the crop's {self.crop} pixels, and the greatest, as 256+480.")
        if self.scales or self.pad:
            raise InputError("Recipe field crop takes crops from photographs of many sizes: leave scales out, and write pad=0.")

    def for_depth(self, depth: int) -> "Recipe":
        """The recipe as a net of `depth` layers is trained with it: without the warm-up where that is for deeper ones."""
        return self if depth >= self.warmup_from_depth else self.replaced(warmup_iterations=0)

    def replaced(self, **fields: object) -> "Recipe":
        """The recipe with other values in some fields, which are checked."""
        return dataclasses.replace(self, **fields)

    def rate_at(self, step: int) -> float:
        """The learning rate of the update number `step`, counted from 0."""
        if step < self.warmup_iterations:
            return self.warmup_rate
        return self.rate * 0.1 ** sum(step >= drop for drop in self.drops)

    @property
    def evaluate_every(self) -> int:
        """Iterations between two evaluations; a truncated run keeps the spacing of the full one."""
        return max(1, self.iterations // self.evaluations)

    def as_dict(self) -> dict:
        """The fields as JSON holds them. One that came after the first records is left out where it changes nothing, so that those stay equal."""
        fields = {name: value for name, value in dataclasses.asdict(self).items() if LATER.get(name, ...) != value}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


# Section 3.4 divides the rate by 10 "when the error plateaus", without a criterion, and goes up to 60e4 iterations. Here it is divided every 150,000
# iterations: 30 epochs of ImageNet, as in fb.resnet.torch, whose 90 epochs are the first 450,000 iterations (`--iterations 450000`).
PAPER_IMAGENET = Recipe(
    "paper-imagenet", batch_size=256, iterations=600_000, drops=(150_000, 300_000, 450_000), pad=0, warmup_iterations=0, statistics="average",
    curve_every=500, evaluations=60, crop=224, short_sides=(256, 480), colour="pca",
)  # fmt: skip
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("paper-cifar"),
        # the same in shape, a thirty-second of the length: it shows speed, not the end. An evaluation costs as much as 150 iterations, so 4.
        Recipe("short-cifar", iterations=2_000, drops=(1_000, 1_500), evaluations=4),
        # a rate at which both families learn, and neither shifts nor mirror images, which would turn one digit into another
        Recipe("quick-digits", iterations=200, rate=0.05, drops=(100, 150), pad=0, flip=False, warmup_iterations=0, curve_every=10),
        PAPER_IMAGENET,
        # at half the resolution. Imagenette's 9,469 images are drawn 162 times, about as often as the paper draws CIFAR-10's, with the drops where
        # that schedule has them; half the batch, so that there are as many updates as time allows on one GPU. Ours, and not tuned
        PAPER_IMAGENET.replaced(
            name="half-imagenette", batch_size=128, iterations=12_000, drops=(6_000, 9_000), crop=112, short_sides=(128, 240), average_batches=100,
            curve_every=50, evaluations=16,
        ),
    )
}  # fmt: skip
# every other data set is trained as the paper trains CIFAR-10
DEFAULTS = {"digits": "quick-digits", "imagenet": "paper-imagenet", "imagenette": "half-imagenette"}


def completed(fields: dict) -> dict:
    """The recipe of a record with the fields that it leaves out because they came later, as JSON would hold them."""
    return {**{name: list(value) if isinstance(value, tuple) else value for name, value in LATER.items()}, **fields}


def get_recipe(name: str | None = None, data: str = "cifar10") -> Recipe:
    """The recipe called `name`, or the one made for the data set.

    A name may go on with fields to change, "quick-digits,rate=0.02,drops=300+450"; the recipe keeps them in its name, in the fields' own
    order, so that a record's command repeats it. Raises InputError that lists the names or the fields.
    """
    base, *changes = (name or DEFAULTS.get(data, "paper-cifar")).split(",")
    if base not in RECIPES:
        raise InputError(f"Unknown recipe {base!r}: choose one of {', '.join(RECIPES)}.")
    fields = [_parsed(change) for change in changes]
    if len({field for field, _ in fields}) < len(fields):
        raise InputError(f"The recipe {name!r} gives a field twice: name each once.")
    return _changed(RECIPES[base], dict(fields)) if changes else RECIPES[base]


def _parsed(change: str) -> tuple[str, object]:
    """A field and its value from "field=value"; the field's own type says how the value is read. Numbers of RISING are joined by "+", or "none"."""
    field, _, text = change.partition("=")
    kinds = {f.name: f.type for f in dataclasses.fields(Recipe) if f.name != "name"}
    if field not in kinds:
        raise InputError(f"A recipe has no field {field!r}: choose from {', '.join(kinds)}.")
    try:
        if field in RISING:
            return field, () if text == "none" else tuple(int(number) for number in text.split("+"))
        if kinds[field] is bool:
            return field, {"true": True, "false": False}[text]
        return field, kinds[field](text)
    except (ValueError, KeyError) as error:
        like = {"scales": "32+40+48", "short_sides": "256+480"}.get(field) or _shown(getattr(RECIPES["paper-cifar"], field))
        raise InputError(f"The recipe field {field} cannot be {text!r}: its value is like {like}.") from error


def _shown(value: object) -> str:
    """A field's value as `_parsed` reads it."""
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _changed(recipe: Recipe, changes: dict[str, object]) -> Recipe:
    changed = recipe.replaced(**changes)
    order = [f.name for f in dataclasses.fields(Recipe) if f.name in changes]
    return changed.replaced(name=",".join([recipe.name, *(f"{field}={_shown(changes[field])}" for field in order)]))
