"""A small valid record, to be changed by the tests that need one."""

import copy

from resnet_nb.records import signed

EXAMPLE = {
    "schema": 1,
    "kind": "training",
    "study": None,
    "model": {"name": "plain20", "width": 8, "in_channels": 1, "classes": 10, "parameters": 67_418, "init": "he-fan-in"},
    "data": {
        "name": "digits",
        "fingerprint": "sha256:" + "0" * 64,
        "split": "all",
        "train_images": 1400,
        "validation_images": 0,
        "test_images": 397,
    },
    "recipe": {
        "name": "quick-digits",
        "batch_size": 128,
        "iterations": 200,
        "rate": 0.05,
        "drops": [100, 150],
        "momentum": 0.9,
        "weight_decay": 1e-4,
    },
    "seed": 0,
    "iterations": 200,
    "curve": {"iteration": [100, 200], "loss": [1.0, 0.1], "error": [40.0, 2.0]},
    "evaluations": {"iteration": [100, 200], "train_error": [30.0, 1.0], "validation_error": None, "test_error": [31.0, 3.0]},
    "final": {
        "iteration": 200,
        "train_error": 1.0,
        "validation_error": None,
        "test_error": 3.0,
        "test_top5_error": 0.0,
        "test_loss": 0.2,
        "train_loss": 0.1,
        "warmup_error": None,
    },
    "protocol": "1-crop",
    "provenance": {
        "package": "0.1.0",
        "commit": None,
        "modified": None,
        "python": "3.11.7",
        "torch": "2.14.1",
        "driver": None,
        "device": "cpu",
        "device_name": "a processor",
        "threads": 1,
        "deterministic": True,
        "started": "2026-11-24T11:00:00+00:00",
        "wall_seconds": 12.3,
        "resumed_at": [],
    },
    "command": "resnet-nb train plain20 --width 8 --data digits --recipe quick-digits --seed 0",
}


def training_record(**changes: object) -> dict:
    """The example, signed, with changes: `model={"name": "resnet56"}` updates a part, `seed=3` replaces a value."""
    record = copy.deepcopy(EXAMPLE)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(record[key], dict):
            record[key].update(value)
        else:
            record[key] = value
    return signed(record)
