"""The command line, `resnet-nb`: names and options to calls, results to standard output, everything else to standard error."""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from resnet_nb import __version__
from resnet_nb.errors import InputError, RunError
from resnet_nb.recipes import RECIPES

app = typer.Typer(
    help="Train, evaluate and record the networks of the notebooks. Exit status: 0 done, 2 bad usage or input, 1 failed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DataRoot = Annotated[Path | None, typer.Option("--data-root", help="Where data lies [default: the variable RESNET_NB_DATA].")]
DataName = Annotated[str, typer.Option("--data", help="digits (embedded), cifar10, cifar100 or folder.")]
TrainData = Annotated[str, typer.Option("--data", help="digits (embedded), cifar10, cifar100, folder; of photographs imagenet, imagenette, folder.")]
Split = Annotated[str, typer.Option(help='Training and validation images, such as 45k/5k; "all" trains on every one.')]
ImageSize = Annotated[int | None, typer.Option(help="folder: short side in pixels, then a centre crop of that size.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch the official archive into the data root if it is absent.")]
Device = Annotated[str, typer.Option(help="auto (CUDA, then MPS, then CPU), cpu, cuda or mps.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads [default: torch's choice, one a core].")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Norm = Annotated[str, typer.Option(help="batch: batch normalisation; none: biases in its place.")]
Width = Annotated[int | None, typer.Option(help="Channels of the first stage [default: the paper's, 16, or 64 for ImageNet nets].")]


Weights = Annotated[
    str, typer.Option(help="A state dict (ours, or of public CIFAR ResNets), akamaster:resnet56, or a library's, such as IMAGENET1K_V1.")
]
TestData = Annotated[str, typer.Option("--data", help="digits, cifar10, cifar100, imagenet, imagenetv2, imagenette or folder.")]
Resize = Annotated[int | None, typer.Option(min=1, help="Short side for the crops, and of dense [default: the weights' own, or the paper's 256].")]
Crop = Annotated[int | None, typer.Option(min=1, help="Side of the crops that the net was trained on [default: the weights' own, or 224].")]
Scales = Annotated[str | None, typer.Option(help="Short sides of multi-scale, such as 224,256; dense is measured at each.")]
Mirror = Annotated[bool | None, typer.Option("--mirror/--no-mirror", help="1-crop with its mirror image; dense and multi-scale without.")]
Pad = Annotated[str | None, typer.Option(help="Zeros around the picture for 10-crop, such as 4; it is measured with each.")]
Rule = Annotated[str | None, typer.Option(help="softmax (averages scores), logits, or for the dense forms pooled [default: softmax].")]
Interpolation = Annotated[str | None, typer.Option(help="bilinear or bicubic [default: the weights' own, or bilinear].")]
Resizer = Annotated[str | None, typer.Option(help="pil, or tensor: faster, and not the same to the last level [default: pil].")]
Mean = Annotated[str | None, typer.Option(help="Channel means in [0, 1], such as 0.485,0.456,0.406 [default: those of the weights].")]
Std = Annotated[str | None, typer.Option(help="Channel standard deviations [default: those of the weights; ones with --mean alone].")]
Normalise = Annotated[str | None, typer.Option(help="Measure on the training images: pixel-mean, channel-mean or channel-mean-std.")]
GivenNorm = Annotated[str | None, typer.Option("--norm", help="batch or none, as for train [default: beside the weights, or batch].")]
ConvBias = Annotated[bool, typer.Option("--conv-bias", help="The convolutions have biases beside batch normalisation.")]

PublicStudy = Annotated[str | None, typer.Option(help="File a record of public weights under results/STUDY/; needs --source.")]
Source = Annotated[str | None, typer.Option(help="Where the weights are public: github:OWNER/REPOSITORY@COMMIT:PATH.")]
TrainedOn = Annotated[str | None, typer.Option(help='For the record, in words: "45,000 of the 50,000 training images".')]
Note = Annotated[str | None, typer.Option(help="For the record, in words: what else sets the training apart.")]

Compiled = Annotated[
    bool, typer.Option("--compiled", help="Fuse each block by torch.compile: some seconds for each kind of block; no gain measured on a CPU.")
]
MaxMinutes = Annotated[float | None, typer.Option(help="Stop safely after so long, with status 0; the same command goes on [default: no limit].")]

INIT_HELP = (
    "he-fan-in, he-fan-out, glorot, orthogonal, delta-orthogonal, pytorch (its layers' default), small, zero-last-scale, "
    "or grown:plain20: a trained plain-20, deepened; grown:plain20@STUDY: the one whose weights that study keeps."
)

ClassNames = Annotated[
    Path | None, typer.Option("--classes", help="A file with a name a line, or a folder of class folders [default: the weights' own names].")
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"resnet-nb {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


def _say(text: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes under torchrun, one of each machine speaks
        print(text, file=sys.stderr)


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=1, allow_nan=False))


def _pairs(texts: list[str] | None) -> list[tuple[str, str]]:
    """MODEL=WEIGHTS, as --with has them."""
    pairs = [tuple(text.partition("=")[::2]) for text in texts or ()]
    if not all(model and weights for model, weights in pairs):
        raise InputError("--with: write MODEL=WEIGHTS, such as resnet56=akamaster:resnet56.")
    return pairs


@app.command("run")
def run_command(
    evidence: Annotated[str, typer.Option(help="stored (recorded runs), quick (and a small live one) or full (GPU and data).")] = "quick",
    notebook: Annotated[list[str] | None, typer.Option(help="Number or name of a notebook; repeat for several [default: all].")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Notebooks at a time, each in a process of its own.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Where the executed copies go [default: executed/EVIDENCE].")] = None,
    timeout: Annotated[int | None, typer.Option(min=1, help="Seconds that a cell may take [default: no limit].")] = None,
    data_root: DataRoot = None,
    download: Download = False,
    allow_slow: Annotated[bool, typer.Option("--allow-slow", help="Let the full rung run without a GPU.")] = False,
) -> None:
    """Execute the notebooks with papermill; each leaves an executed copy and an HTML page."""
    from resnet_nb.runner import format_outcomes, run_notebooks

    parameters = {"DATA_ROOT": str(data_root) if data_root else None, "DOWNLOAD": download or None, "ALLOW_SLOW": allow_slow or None}
    given = {name: value for name, value in parameters.items() if value is not None}
    outcomes = run_notebooks(evidence, only=notebook or (), jobs=jobs, out=out, timeout=timeout, parameters=given)
    print(format_outcomes(outcomes))
    if not all(outcome.ok for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def train(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="plain20, resnet56, resnet20-B, imagenet:resnet34, torchvision:NAME, timm:NAME ...")],
    data: TrainData = "digits",
    data_root: DataRoot = None,
    recipe: Annotated[str | None, typer.Option(help=f"{', '.join(RECIPES)} [default: the data's].")] = None,
    seed: Annotated[int, typer.Option(help="Of the initial weights, the batches, the crops.")] = 0,
    iterations: Annotated[int | None, typer.Option(help="Stop after so many; the schedule stays as it is.")] = None,
    width: Width = None,
    init: Annotated[str, typer.Option(help=INIT_HELP)] = "he-fan-in",
    norm: Norm = "batch",
    split: Split = "all",
    image_size: ImageSize = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder [default: runs/NAME].")] = None,
    study: Annotated[str | None, typer.Option(help="Also file the record under results/STUDY/.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Look at every layer along the way: trace.csv, also beside the record.")] = False,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="File the final weights beside the record, in half precision.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start again, whatever the folder holds.")] = False,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints.")] = 30,
    max_minutes: MaxMinutes = None,
    device: Device = "auto",
    threads: Threads = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that decode photographs, for each rank [default: the processors].")] = None,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="CUDA: kernels that repeat to the last bit.")] = False,
    compiled: Compiled = False,
    download: Download = False,
    as_json: Json = False,
) -> None:
    """Train one network, or go on with a run that was stopped; leaves weights.pt and record.json in the run's folder.

    On photographs, by several processes too: torchrun --nproc-per-node N -m resnet_nb train ..., each with a GPU or on the CPU.
    """
    from resnet_nb import asked
    from resnet_nb.progress import leads
    from resnet_nb.train import RunStopped

    try:
        done = asked.train(context.params)
    except RunStopped as stopped:
        if not leads():
            return
        if as_json:
            _print_json({"finished": False, "model": model, **stopped.as_dict()})
        else:
            print(stopped)
        return
    if not leads():
        return
    _say(f"data: {done.source}")
    _say(f"{'done' if done.new else 'nothing left to do, the run is complete'}: {done.folder}")
    if study:
        _say(f"recorded in the study {study}")
    if as_json:
        _print_json(done.record)
    else:
        print(final_line(done.record))


def final_line(record: dict) -> str:
    """A training run's record in a line."""
    final = record["final"]
    return (
        f"{record['model']['name']} after {final['iteration']} iterations: training error {final['train_error']:.2f} %, "
        f"test error {final['test_error']:.2f} % (1-crop, {record['data']['test_images']:,} images)"
    )


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="The model's name, as for train.")],
    weights: Weights,
    data: TestData = "digits",
    data_root: DataRoot = None,
    protocol: Annotated[str, typer.Option(help="1-crop, 10-crop, dense, multi-scale; several with commas.")] = "1-crop",
    resize: Resize = None,
    crop: Crop = None,
    scales: Scales = None,
    pad: Pad = None,
    mirror: Mirror = None,
    rule: Rule = None,
    interpolation: Interpolation = None,
    resizer: Resizer = None,
    mean: Mean = None,
    std: Std = None,
    normalise: Normalise = None,
    width: Width = None,
    norm: GivenNorm = None,
    conv_bias: ConvBias = False,
    others: Annotated[list[str] | None, typer.Option("--with", help="MODEL=WEIGHTS of an ensemble's further member; repeat for several.")] = None,
    image_size: ImageSize = None,
    part: Annotated[str, typer.Option("--on", help="test, validation or train; several with commas.")] = "test",
    split: Split = "all",
    precision: Annotated[str, typer.Option(help="float32, tf32, bfloat16 or float16; the predictions that flip are counted.")] = "float32",
    batch: Annotated[int | None, typer.Option(min=1, help="Crops of 224x224 pixels at a time, or as many pixels [default: the device's].")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode photographs [default: half the processors].")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for the answer; a run that was stopped goes on from what is finished there.")] = None,
    save_scores: Annotated[Path | None, typer.Option(help="A file .npz for the scores of every view; goes on as --out does.")] = None,
    study: PublicStudy = None,
    source: Source = None,
    trained_on: TrainedOn = None,
    note: Note = None,
    device: Device = "auto",
    threads: Threads = None,
    download: Download = False,
    as_json: Json = False,
) -> None:
    """Error rates of trained weights under test protocols, each compared with the one before it; with --study, a record of them."""
    from resnet_nb import choices, evaluations, reports
    from resnet_nb.measure import Running, measure
    from resnet_nb.members import Given
    from resnet_nb.runs import set_threads

    if (study is None) != (source is None):
        raise InputError("--study and --source go together: a record of weights says where they are public.")
    if study is None and (trained_on, note) != (None, None):
        raise InputError("--trained-on and --note are kept in a record: give --study and --source with them.")
    set_threads(threads)
    sides = choices.pixels("--scales", scales), choices.pixels("--pad", pad)
    options = {
        "protocols": protocol.split(","), "parts": part.split(","), "given": Given(mean, std, normalise), "width": width, "norm": norm,
        "choices": choices.Choices(resize, crop, *sides, mirror, rule, interpolation, resizer),
        "running": Running(device, precision, batch, workers, out, save_scores), "others": _pairs(others), "conv_bias": conv_bias,
        "image_size": image_size, "split": split, "download": download,
    }  # fmt: skip
    if study is None:
        result = measure(model, weights, data, data_root, **options)
    else:
        said = {"trained_on": trained_on, "note": note}
        result = evaluations.evaluate(model, weights, data, data_root, study=study, source=source, **said, **options)
        _say(f"recorded in the study {study}")
    for sentence in reports.remarks(result):
        _say(sentence)
    if as_json:
        _print_json(result)
    else:
        print("\n".join(reports.lines(result)))


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="The model's name, as for train.")],
    images: Annotated[list[Path], typer.Argument(help="Pictures in any format of Pillow's.")],
    weights: Weights,
    protocol: Annotated[str, typer.Option(help="1-crop, 10-crop, dense or multi-scale.")] = "10-crop",
    resize: Resize = None,
    crop: Crop = None,
    scales: Scales = None,
    pad: Pad = None,
    mirror: Mirror = None,
    rule: Rule = None,
    interpolation: Interpolation = None,
    resizer: Resizer = None,
    mean: Mean = None,
    std: Std = None,
    width: Width = None,
    norm: GivenNorm = None,
    conv_bias: ConvBias = False,
    classes: ClassNames = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the views and their votes on the picture, to .png, .pdf or .svg.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """The five likeliest classes of your own pictures, and the views that voted for each. Exit status 1 if a picture could not be read."""
    from resnet_nb import choices, own_pictures, reports
    from resnet_nb import predict as predictions
    from resnet_nb.members import Given
    from resnet_nb.runs import set_threads

    if "," in protocol:
        raise InputError(f"--protocol {protocol}: name one.")
    set_threads(threads)
    sides = choices.pixels("--scales", scales), choices.pixels("--pad", pad)
    chosen = choices.Choices(resize, crop, *sides, mirror, rule, interpolation, resizer)
    own_pictures.check_files(images)
    predictions.check_figure(figure, images)
    made = {"width": width, "norm": norm, "conv_bias": conv_bias}
    ready = own_pictures.ready(model, weights, [protocol], given=Given(mean, std), choices=chosen, classes=classes, **made)
    answer = predictions.predict(ready, images, device=device)
    if figure is not None:
        predictions.draw(answer, figure)
    for sentence in reports.remarks(answer):
        _say(sentence)
    if as_json:
        _print_json(answer)
    else:
        print("\n".join(predictions.lines(answer)))
    if answer["unreadable"]:
        raise typer.Exit(1)


@app.command()
def features(
    model: Annotated[str, typer.Argument(help="The model's name, as for train.")],
    folder: Annotated[Path, typer.Argument(help="Class folders of pictures, or a folder of pictures.")],
    weights: Weights,
    out: Annotated[Path, typer.Option(help="The file .npz to write.")],
    resize: Resize = None,
    crop: Crop = None,
    interpolation: Interpolation = None,
    resizer: Resizer = None,
    mean: Mean = None,
    std: Std = None,
    width: Width = None,
    norm: GivenNorm = None,
    conv_bias: ConvBias = False,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Pooled features of every picture in a folder, with names and labels, for use elsewhere."""
    from resnet_nb import features as pooled
    from resnet_nb import own_pictures, reports
    from resnet_nb.choices import Choices
    from resnet_nb.members import Given
    from resnet_nb.runs import set_threads

    set_threads(threads)
    chosen = Choices(resize, crop, interpolation=interpolation, resizer=resizer)
    made = {"width": width, "norm": norm, "conv_bias": conv_bias}
    ready = own_pictures.ready(model, weights, ["1-crop"], given=Given(mean, std), choices=chosen, **made)
    answer = pooled.features(ready, folder, out, device=device)
    for sentence in reports.remarks(answer):
        _say(sentence)
    if as_json:
        _print_json(answer)
    else:
        print(f"{answer['images']:,} pictures, {answer['features']:,} features each, {len(answer['classes'])} classes: {out}")


@app.command()
def diagnose(
    model: Annotated[str | None, typer.Argument(help="The model's name, as for train; causes that cannot be its are left out.")] = None,
    measured: Annotated[float | None, typer.Option(help="Your top-1 error in percent [default with --weights: that of the probed images].")] = None,
    published: Annotated[float | None, typer.Option(help="The top-1 error in percent that you compare it with.")] = None,
    protocol: Annotated[str | None, typer.Option(help="The protocol that your error was measured under.")] = None,
    group: Annotated[str | None, typer.Option(help="Only these causes: comparison, test pipeline or training.")] = None,
    weights: Annotated[str | None, typer.Option(help="Also probe the net with these weights, as for evaluate, on --data.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="The data's name; with --weights it is read, as for evaluate.")] = None,
    data_root: DataRoot = None,
    subset: Annotated[int, typer.Option(min=2, help="Images to probe on; the others confirm what is found.")] = 1_000,
    probes: Annotated[str | None, typer.Option(help="Which, with commas: channels, scaling, mean and std, resize ... [default: all].")] = None,
    resize: Resize = None,
    crop: Crop = None,
    interpolation: Interpolation = None,
    mean: Mean = None,
    std: Std = None,
    normalise: Normalise = None,
    width: Width = None,
    norm: GivenNorm = None,
    conv_bias: ConvBias = False,
    image_size: ImageSize = None,
    part: Annotated[str, typer.Option("--on", help="test, or train.")] = "test",
    seed: Annotated[int, typer.Option(min=0, help="Of the images that are drawn.")] = 0,
    device: Device = "auto",
    threads: Threads = None,
    download: Download = False,
    as_json: Json = False,
) -> None:
    """Why does my number differ? Known causes by the size and sign of the gap; with --weights, probes on your own net and pictures."""
    from resnet_nb import diagnosing, reports
    from resnet_nb.choices import Choices
    from resnet_nb.diagnose.settings import KINDS
    from resnet_nb.members import Given
    from resnet_nb.runs import set_threads

    if weights is None and None in (measured, published):
        raise InputError("Give --measured and --published, two top-1 errors in percent, or a model with --weights and --data to probe it.")
    if weights is not None and None in (model, data):
        raise InputError("--weights needs the model's name and --data, on which it is probed.")
    set_threads(threads)
    answer = {"model": model, "data": data, "measured": measured, "published": published}
    if weights is not None:
        answer["probes"] = diagnosing.probed(
            model, weights, data, data_root, given=Given(mean, std, normalise), choices=Choices(resize, crop, interpolation=interpolation),
            part=part, subset=subset, kinds=probes.split(",") if probes else KINDS, seed=seed, device=device, width=width, norm=norm,
            conv_bias=conv_bias, image_size=image_size, download=download, measured=measured,
        )  # fmt: skip
        answer["measured"] = answer["probes"]["error"] if measured is None else measured
    if published is not None:
        answer["gap"] = round(answer["measured"] - published, 6)
        answer["causes"] = diagnosing.fitting(answer["measured"], published, model=model, data=data, protocol=protocol, group=group)
    for sentence in reports.remarks(answer.get("probes", {})):
        _say(sentence)
    if as_json:
        _print_json(answer)
    else:
        print("\n".join(diagnosing.lines(answer)))


@app.command()
def probe(
    probe: Annotated[str, typer.Argument(help="responses, shares, lesions, deletions, swaps, paths, line or surface.")],
    model: Annotated[str, typer.Argument(help="The model's name, as for train.")],
    weights: Weights,
    data: Annotated[str, typer.Option("--data", help="digits, cifar10, cifar100 or folder.")] = "digits",
    data_root: DataRoot = None,
    images: Annotated[int, typer.Option(min=2, help="How many, evenly over the part.")] = 1_000,
    part: Annotated[str, typer.Option("--on", help="test or train.")] = "test",
    counts: Annotated[str | None, typer.Option(help="deletions and swaps: how many blocks or pairs [default: 1,2,4,8].")] = None,
    draws: Annotated[int | None, typer.Option(min=1, help="deletions, swaps and paths: random choices for each [default: 5].")] = None,
    points: Annotated[int | None, typer.Option(min=3, help="line and surface: points along a direction [default: 21].")] = None,
    span: Annotated[float | None, typer.Option(help="line and surface: how far to each side [default: 1].")] = None,
    directions: Annotated[int | None, typer.Option(min=1, help="line: random directions [default: 1].")] = None,
    statistics: Annotated[int | None, typer.Option(help="line and surface: images for statistics averaged anew [default: 0, none].")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of choices and directions [default: 0].")] = None,
    mean: Mean = None,
    std: Std = None,
    normalise: Normalise = None,
    width: Width = None,
    norm: GivenNorm = None,
    conv_bias: ConvBias = False,
    image_size: ImageSize = None,
    study: PublicStudy = None,
    source: Source = None,
    trained_on: TrainedOn = None,
    note: Note = None,
    device: Device = "auto",
    threads: Threads = None,
    download: Download = False,
    as_json: Json = False,
) -> None:
    """Look inside trained weights: layers, blocks deleted or exchanged, paths of the gradient, slices of the loss; with --study, a record of it."""
    from resnet_nb import probing
    from resnet_nb.members import Given
    from resnet_nb.runs import set_threads

    set_threads(threads)
    asked = {
        "counts": counts, "draws": draws, "points": points, "span": span, "directions": directions, "statistics": statistics, "seed": seed,
    }  # fmt: skip
    answer = probing.probed(
        probe, model, weights, data, data_root, given=Given(mean, std, normalise), images=images, part=part, asked=asked, width=width, norm=norm,
        conv_bias=conv_bias, image_size=image_size, device=device, download=download, study=study, source=source,
        said={"trained_on": trained_on, "note": note},
    )  # fmt: skip
    if study:
        _say(f"recorded in the study {study}")
    if as_json:
        _print_json(answer)
    else:
        print(probing.text(answer))


@app.command()
def sweep(
    study: Annotated[str, typer.Argument(help="A study file, or the name of one in studies/, such as digits-degradation.")],
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time: on a CPU each in a process, on a GPU each on a stream [default: as many as have room].")
    ] = None,
    max_minutes: MaxMinutes = None,
    data_root: DataRoot = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps [default: the study's, or auto].")] = None,
    compiled: Compiled = False,
    on: Annotated[str, typer.Option(help="this machine, or ray: a Ray cluster, one run a task.")] = "machine",
    address: Annotated[str | None, typer.Option(help="The Ray cluster, HOST:PORT [default: RAY_ADDRESS, or this machine].")] = None,
    gpus: Annotated[float, typer.Option(min=0, help="With --on ray: GPUs that a run takes, such as 1, or 0.25 to share one.")] = 0,
    as_json: Json = False,
) -> None:
    """Do the many runs of a study, side by side; what is recorded is skipped, what was stopped goes on. Exit status 1 if a run failed."""
    from resnet_nb import asked, studies
    from resnet_nb import sweep as sweeps

    deadline = asked.deadline(max_minutes)

    found = studies.read_study(studies.find_study(study))
    words = {"--device": device, "--data-root": data_root}
    more = tuple(word for name, value in words.items() if value is not None for word in (name, str(value)))
    more += ("--compiled",) if compiled else ()
    if on == "ray":
        if (jobs, max_minutes) != (None, None):
            raise InputError("--jobs and --max-minutes are for one machine, and --on ray leaves both to the cluster: leave them out.")
        from resnet_nb import on_ray

        outcomes = on_ray.sweep(found, address=address, more=more, gpus=gpus)
    elif on == "machine" and (address, gpus) == (None, 0):
        outcomes = sweeps.sweep(found, jobs, more, deadline)
    else:
        raise InputError("--on is machine or ray, and --address and --gpus go with ray.")
    by_kind = {kind: [outcome for outcome in outcomes if outcome.kind == kind] for kind in ("done", "skipped", "stopped", "failed", "left")}
    for outcome in by_kind["failed"]:
        _say(f"failed: resnet-nb {' '.join(outcome.words)}: {outcome.said}")
    if as_json:
        _print_json({"study": found.name, **{kind: [outcome.as_dict() for outcome in those] for kind, those in by_kind.items()}})
    else:
        print(sweeps.summary(found, outcomes))
    if by_kind["failed"]:
        raise typer.Exit(1)


@app.command()
def scoreboard(as_json: Json = False) -> None:
    """Recorded runs beside the published numbers, with protocol and spread."""
    from resnet_nb import scoreboard as board

    table = board.scoreboard()
    if as_json:
        _print_json(json.loads(table.to_json(orient="records")))
    else:
        print(board.format_scoreboard(table))


@app.command()
def verify(as_json: Json = False) -> None:
    """Check every recorded run: edited, missing, orphaned and unreadable files are named."""
    from resnet_nb import records
    from resnet_nb.records import places

    problems = records.verify()
    if as_json:
        _print_json([{"path": str(p.path), "kind": p.kind, "problem": p.sentence} for p in problems])
    else:
        for problem in problems:
            print(problem.sentence)
        _say(f"{len(problems)} problems in {places.results_dir()}" if problems else f"every record in {places.results_dir()} is sound")
    if problems:
        raise typer.Exit(1)


@app.command()
def reference(
    check: Annotated[Path | None, typer.Option(help="Compare your own values with them: a JSON file with any part of what --json prints.")] = None,
    as_json: Json = False,
) -> None:
    """Reference values for ports to other frameworks. With --check, exit status 1 where somebody's own values leave the tolerance."""
    from resnet_nb import reference as values

    stored = values.load()
    if check is None:
        if as_json:
            _print_json(stored)
        else:
            print("\n".join(values.lines(stored)))
        return
    found = values.compare(*values.read_own(check, stored), stored)
    if as_json:
        _print_json(found)
    else:
        print("\n".join(values.verdicts(found)))
    if any(net["departs"] for net in found):
        raise typer.Exit(1)


@app.command("data")
def data_command(
    name: Annotated[str | None, typer.Argument(help="Load this data set whole, check it, and describe it.")] = None,
    data_root: DataRoot = None,
    split: Split = "all",
    image_size: ImageSize = None,
    download: Download = False,
    as_json: Json = False,
) -> None:
    """Which data sets are at hand; with a name, load one, check it, and print its fingerprint."""
    from resnet_nb.data import available, describe, load_data
    from resnet_nb.data.imagenet import COLLECTIONS, available_photographs, describe_photographs, photographs

    if name in COLLECTIONS and (split, image_size, download) != ("all", None, False):
        raise InputError(f"{name} is only tested on, as it lies there: leave --split, --image-size and --download out.")
    if name is None:
        rows = [*available(data_root), *available_photographs(data_root)]
    elif name in COLLECTIONS:
        rows = [describe_photographs(photographs(name, data_root))]
    else:
        rows = [describe(load_data(name, data_root, split=split, download=download, image_size=image_size))]
    if as_json:
        _print_json(rows if name is None else rows[0])
        return
    for row in rows:
        print("\n".join(f"{key}: {value}" for key, value in row.items() if value is not None) + ("\n" if len(rows) > 1 else ""))


@app.command()
def doctor(data_root: DataRoot = None, as_json: Json = False) -> None:
    """What this machine and this installation can do: versions, device, memory, data, notebooks, records."""
    from resnet_nb.doctor import checks, format_checks

    found = checks(data_root)
    if as_json:
        _print_json([vars(check) for check in found])
    else:
        print(format_checks(found))
    if not all(check.ok for check in found):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; errors that are the user's end in one sentence, not in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a file's name may hold what the terminal's encoding lacks
    warnings.filterwarnings("ignore", module="PIL")  # of palettes and metadata: a picture is scored or refused by name
    try:
        app()
    except SystemExit as stopped:
        if stopped.code != 130:
            raise
        _say("resnet-nb: Interrupted: the same command goes on from the last checkpoint, where there is one.")  # typer's 130 for Ctrl-C
        sys.exit(1)
    except InputError as error:
        _say(f"resnet-nb: {error}")
        sys.exit(2)
    except RunError as error:
        _say(f"resnet-nb: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
