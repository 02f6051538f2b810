"""The training loop: batches, the step, what is measured and kept on the way, one process or several."""
