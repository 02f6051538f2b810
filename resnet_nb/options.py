"""Options that several commands of `resnet-nb` have, each said once."""

from pathlib import Path
from typing import Annotated

import typer

DataRoot = Annotated[Path | None, typer.Option("--data-root", help="Where data lies [default: the variable RESNET_NB_DATA].")]
Split = Annotated[str, typer.Option(help='Training and validation images, such as 45k/5k; "all" trains on every one.')]
ImageSize = Annotated[int | None, typer.Option(help="folder: short side in pixels, then a centre crop of that size.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch the official archive into the data root if it is absent.")]
Device = Annotated[str, typer.Option(help="auto (CUDA, then MPS, then CPU), cpu, cuda or mps.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads [default: torch's choice, one a core].")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Width = Annotated[int | None, typer.Option(help="Channels of the first stage [default: the paper's, 16, or 64 for ImageNet nets].")]

# Of training
Compiled = Annotated[
    bool, typer.Option("--compiled", help="Fuse each block by torch.compile: some seconds for each kind of block; no gain measured on a CPU.")
]
MaxMinutes = Annotated[float | None, typer.Option(help="Stop safely after so long, with status 0; the same command goes on [default: no limit].")]

# Of weights, and of how they are tested
Weights = Annotated[
    str, typer.Option(help="A state dict (ours, or of public CIFAR ResNets), akamaster:resnet56, or a library's, such as IMAGENET1K_V1.")
]
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

# Of a record of public weights
PublicStudy = Annotated[str | None, typer.Option(help="File a record of public weights under results/STUDY/; needs --source.")]
Source = Annotated[str | None, typer.Option(help="Where the weights are public: github:OWNER/REPOSITORY@COMMIT:PATH.")]
TrainedOn = Annotated[str | None, typer.Option(help='For the record, in words: "45,000 of the 50,000 training images".')]
Note = Annotated[str | None, typer.Option(help="For the record, in words: what else sets the training apart.")]
