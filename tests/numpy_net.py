"""The CIFAR nets, their gradient and the paper's SGD in NumPy alone, float64: written from docs/reference.md, as an example of a port.

Each layer returns its output and a function from the gradient of the output to that of the input, which notes the gradients of its own parameters.
"""

import numpy as np


def rule_numbers(count):
    values, x = [], 1
    for _ in range(count):
        x = 48271 * x % 2147483647
        values.append(x)
    return np.array(values)


class Net:
    """depth: 6n + 2 layers, the first stage `width` wide; residual ones with shortcuts of option A."""

    def __init__(self, depth, residual, width=16):
        self.blocks, self.residual = (depth - 2) // 6, residual
        outs = [width] * (2 * self.blocks + 1) + [2 * width] * 2 * self.blocks + [4 * width] * 2 * self.blocks
        shapes = [(out, before, 3, 3) for before, out in zip([3, *outs], outs, strict=False)] + [(10, 4 * width)]
        numbers = rule_numbers(49152 + 16 + sum(np.prod(shape) for shape in shapes))
        p = 2147483647
        bytes_ = (256 * numbers[:49152] // p).reshape(16, 3, 32, 32)
        self.images, self.labels = (bytes_ - bytes_.mean(0)) / 255, 10 * numbers[49152:49168] // p
        self.parameters, place = {}, 49168
        for number, shape in enumerate(shapes):
            size = int(np.prod(shape))
            uniform = 2 * numbers[place : place + size] / p - 1
            self.parameters["weight", number] = np.sqrt(6 / np.prod(shape[1:])) * uniform.reshape(shape)
            place += size
        for number, out in enumerate(outs):
            self.parameters["scale", number], self.parameters["offset", number] = np.ones(out), np.zeros(out)
        self.parameters["bias", len(outs)] = np.zeros(10)
        self.running = {number: [np.zeros(out), np.ones(out)] for number, out in enumerate(outs)}
        self.gradients, self.velocities = {}, {}

    def convolve(self, x, number, stride):
        weight = self.parameters["weight", number]
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::stride, ::stride]
        count, channels, height, width = windows.shape[:4]
        columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, channels * 9)
        matrix = weight.reshape(len(weight), -1)

        def back(gradient):
            rows = gradient.transpose(0, 2, 3, 1).reshape(-1, len(weight))
            self.gradients["weight", number] = (rows.T @ columns).reshape(weight.shape)
            of_windows = (rows @ matrix).reshape(count, height, width, channels, 3, 3)
            of_padded = np.zeros(padded.shape)
            for i in range(3):
                for j in range(3):
                    rows_, columns_ = slice(i, i + stride * height, stride), slice(j, j + stride * width, stride)
                    of_padded[:, :, rows_, columns_] += of_windows[..., i, j].transpose(0, 3, 1, 2)
            return of_padded[:, :, 1:-1, 1:-1]

        return (columns @ matrix.T).reshape(count, height, width, -1).transpose(0, 3, 1, 2), back

    def normalise(self, x, number, training):
        scale, offset = (self.parameters[name, number][:, None, None] for name in ("scale", "offset"))
        if not training:
            mean, variance = (values[:, None, None] for values in self.running[number])
            return scale * (x - mean) / np.sqrt(variance + 1e-5) + offset, None
        n = x.size // x.shape[1]
        mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        moving = self.running[number]
        moving[0] = 0.9 * moving[0] + 0.1 * mean.ravel()
        moving[1] = 0.9 * moving[1] + 0.1 * variance.ravel() * n / (n - 1)
        root = np.sqrt(variance + 1e-5)
        standard = (x - mean) / root

        def back(gradient):
            along, total = ((gradient * factor).sum((0, 2, 3)) for factor in (standard, 1))
            self.gradients["scale", number], self.gradients["offset", number] = along, total
            return scale / root * (gradient - total[:, None, None] / n - standard * along[:, None, None] / n)

        return scale * standard + offset, back

    def layer(self, x, number, stride, training):
        convolved, back_through_convolution = self.convolve(x, number, stride)
        y, back_through_normalisation = self.normalise(convolved, number, training)
        return y, lambda gradient: back_through_convolution(back_through_normalisation(gradient))

    def block(self, x, number, stride, training):
        inner, back_1 = self.layer(x, number, stride, training)
        y, back_2 = self.layer(np.maximum(inner, 0), number + 1, 1, training)
        before = (y.shape[1] - x.shape[1]) // 2  # channels of zeros in front of the old ones, and as many behind
        if self.residual:
            y = y + np.pad(x[:, :, ::stride, ::stride], ((0, 0), (before, before), (0, 0), (0, 0)))

        def back(gradient):
            gradient = gradient * (y > 0)
            of_x = back_1(back_2(gradient) * (inner > 0))
            if self.residual:
                of_x[:, :, ::stride, ::stride] += gradient[:, before : before + x.shape[1]]
            return of_x

        return np.maximum(y, 0), back

    def loss(self, training=True):
        """The mean loss and the scores (16, 10); in training also fills `gradients`."""
        first, back_first = self.layer(self.images, 0, 1, training)
        x, backs = np.maximum(first, 0), []
        for number in range(3 * self.blocks):
            x, back = self.block(x, 1 + 2 * number, 2 if number in (self.blocks, 2 * self.blocks) else 1, training)
            backs.append(back)
        last = 6 * self.blocks + 1
        features, weight = x.mean((2, 3)), self.parameters["weight", last]
        scores = features @ weight.T + self.parameters["bias", last]
        shifted = scores - scores.max(1, keepdims=True)
        logarithms = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        loss = -logarithms[np.arange(16), self.labels].mean()
        if training:
            of_scores = (np.exp(logarithms) - np.eye(10)[self.labels]) / 16
            self.gradients["weight", last], self.gradients["bias", last] = of_scores.T @ features, of_scores.sum(0)
            gradient = np.broadcast_to((of_scores @ weight)[:, :, None, None] / x[0, 0].size, x.shape)
            for back in reversed(backs):
                gradient = back(gradient)
            back_first(gradient * (first > 0))
        return loss, scores

    def update(self, rate):
        for key, parameter in self.parameters.items():
            decay = 1e-4 if key[0] == "weight" else 0
            self.velocities[key] = 0.9 * self.velocities.get(key, 0) + rate * (self.gradients[key] + decay * parameter)
            self.parameters[key] = parameter - self.velocities[key]


def eleven_steps(net, rate):
    """Everything that the file of reference values holds of a net."""
    losses, logits, gradients = [], None, None
    for step in range(11):
        loss, scores = net.loss()
        losses.append(loss)
        if step == 0:
            logits, last = scores[0].tolist(), max(number for _, number in net.parameters)
            gradients = {"first_convolution": norm(net.gradients["weight", 0]), "classifier": norm(net.gradients["weight", last])}
        net.update(rate if step < 6 else rate / 10)
    groups = {name: [values for key, values in net.parameters.items() if key[0] == name] for name in ("weight", "scale", "offset", "bias")}
    *convolutions, classifier = groups["weight"]
    norms = {
        "first_convolution": norm(convolutions[0]), "convolutions": norm(*convolutions), "scales": norm(*groups["scale"]),
        "offsets": norm(*groups["offset"]), "classifier": norm(classifier), "classifier_bias": norm(*groups["bias"]),
    }  # fmt: skip
    return {"logits": logits, "losses": losses, "gradient_norms": gradients, "weight_norms": norms, "evaluation_loss": net.loss(training=False)[0]}


def norm(*arrays):
    return float(np.sqrt(sum((array**2).sum() for array in arrays)))
