"""What is measured while a net trains, point by point."""

from dataclasses import dataclass, field


@dataclass
class Curve:
    """What a run leaves behind, point by point; errors in percent.

    running: iteration, mean loss and error of the augmented batches since the point before, as the paper's figures draw them.
    evaluated: iteration, and the errors in evaluation mode, without augmentation, on all images of each split (None without the split).
    """

    running: list[tuple[int, float, float]] = field(default_factory=list)
    evaluated: list[tuple[int, float, float | None, float]] = field(default_factory=list)
