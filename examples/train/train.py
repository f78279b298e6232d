"""Trains a small network on handwritten digits, for as long as it takes, on nodes that go away.

A LongTask program. It writes a checkpoint into a directory and reports its path: one line. Saving it in an object
store, checking it and bringing it back is the agent's work. The order of the images follows from the seed and the step
alone, so a training that was interrupted ends with the same weights as one that was not.

Environment, beside LONGTASK_*:
  DATA              digits.csv.gz: 64 grey values and a label in each row
  STEPS             how many steps to train (default 300)
  CHECKPOINT_STEPS  steps between two checkpoints (default 50)
  HIDDEN            units in each of the two hidden layers (default 2000: a checkpoint has 50 MB)
  STEP_SECONDS      the shortest time that a step takes (default 0)
"""

import faulthandler
import hashlib
import json
import os
import pathlib
import shutil
import signal
import sys
import time

import numpy as np

YIELD = 75  # EX_TEMPFAIL: "checkpointed, run me again"
SEED = 1
BATCH = 64
LEARNING_RATE, DECAY, DECAY_OF_SQUARES = 0.001, 0.9, 0.999  # Adam


class Network:
    """Two hidden layers, and what Adam knows of each weight."""

    def __init__(self, hidden):
        random = np.random.default_rng(SEED)
        sizes = [(64, hidden), (hidden, hidden), (hidden, 10)]
        weights = [random.normal(0, (2 / rows) ** 0.5, (rows, columns)) for rows, columns in sizes]
        self.weights = [layer.astype(np.float32) for layer in weights]
        self.means = [np.zeros_like(weights) for weights in self.weights]
        self.squares = [np.zeros_like(weights) for weights in self.weights]

    def forward(self, images):
        layers = [images]
        for weights in self.weights[:-1]:
            layers.append(np.maximum(layers[-1] @ weights, 0))
        scores = layers[-1] @ self.weights[-1]
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return layers, scores / scores.sum(axis=1, keepdims=True)

    def train(self, step, images, labels):
        """One step of Adam. Returns the loss."""
        layers, chances = self.forward(images)
        rows = np.arange(len(labels))
        loss = float(-np.log(chances[rows, labels] + 1e-9).mean())
        error = chances
        error[rows, labels] -= 1
        error /= len(labels)
        for at in reversed(range(len(self.weights))):
            gradient = layers[at].T @ error
            if at > 0:
                error = (error @ self.weights[at].T) * (layers[at] > 0)
            mean, square = self.means[at], self.squares[at]
            mean += (1 - DECAY) * (gradient - mean)
            square += (1 - DECAY_OF_SQUARES) * (gradient * gradient - square)
            unbiased = mean / (1 - DECAY**step)
            self.weights[at] -= LEARNING_RATE * unbiased / (np.sqrt(square / (1 - DECAY_OF_SQUARES**step)) + 1e-8)
        return loss

    def accuracy(self, images, labels):
        return float((self.forward(images)[1].argmax(axis=1) == labels).mean())

    def digest(self):
        digest = hashlib.sha256()
        for weights in self.weights:
            digest.update(np.ascontiguousarray(weights).tobytes())
        return digest.hexdigest()

    def save(self, path):
        arrays = {}
        for kind, values in (("weights", self.weights), ("means", self.means), ("squares", self.squares)):
            arrays |= {f"{kind}{at}": value for at, value in enumerate(values)}
        with open(path, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())

    def load(self, path):
        with np.load(path) as arrays:
            for kind, values in (("weights", self.weights), ("means", self.means), ("squares", self.squares)):
                values[:] = [arrays[f"{kind}{at}"] for at in range(len(values))]


class Checkpoints:
    """The directory from which the agent takes checkpoints, and into which it brings back the one to resume from."""

    def __init__(self, environment):
        self.directory = pathlib.Path(environment["LONGTASK_CHECKPOINT_DIR"])
        self.saved = environment.get("LONGTASK_SAVED")
        self.restored = self.directory / "restored"

    def resume(self, network):
        """The step to go on behind; 0 if there is no checkpoint."""
        if not self.restored.exists():
            return 0
        network.load(self.restored / "network.npz")
        step = json.loads((self.restored / "state.json").read_text())["step"]
        shutil.rmtree(self.restored)  # it is loaded: room for the next ones
        return step

    def write(self, network, step):
        """Writes a checkpoint under a name of its own, complete before it has that name. Returns the name."""
        path = self.directory / f"step-{step}"
        unfinished = self.directory / f"unfinished-{step}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        network.save(unfinished / "network.npz")
        (unfinished / "state.json").write_text(json.dumps({"step": step}))
        unfinished.rename(path)
        self.tidy()
        return path.name

    def tidy(self):
        """Deletes what is older than the newest checkpoint that is safe."""
        try:
            safe = json.loads(pathlib.Path(self.saved).read_text())["path"]
        except (OSError, TypeError, ValueError, KeyError):
            return
        number = int(safe.removeprefix("step-"))
        for old in self.directory.glob("step-*"):
            if int(old.name.removeprefix("step-")) < number:
                shutil.rmtree(old)


class Report:
    """The file in which the operator reads what the program has to say."""

    def __init__(self, path):
        self.path = path

    def write(self, **fields):
        if self.path:
            with open(self.path, "a") as file:
                file.write(json.dumps(fields) + "\n")


def load_data(path):
    rows = np.loadtxt(path, delimiter=",", dtype=np.float32)
    return rows[:, :-1] / 16, rows[:, -1].astype(np.int64)


def batch_of(step, images):
    """Which images a step trains on: the same in every run, whatever came before."""
    steps_in_epoch = images // BATCH
    epoch, at = divmod(step - 1, steps_in_epoch)
    order = np.random.default_rng([SEED, epoch]).permutation(images)
    return order[at * BATCH : (at + 1) * BATCH]


def train(environment, stops):
    steps, every = int(environment.get("STEPS", "300")), int(environment.get("CHECKPOINT_STEPS", "50"))
    pause = float(environment.get("STEP_SECONDS", "0"))
    images, labels = load_data(environment["DATA"])
    network, checkpoints = Network(int(environment.get("HIDDEN", "2000"))), Checkpoints(environment)
    report = Report(environment.get("LONGTASK_REPORT"))
    step = checkpoints.resume(network)
    print(f"going on behind step {step} of {steps}", flush=True)
    loss, written = None, step
    while step < steps:
        began = time.monotonic()
        step += 1
        batch = batch_of(step, len(images))
        loss = network.train(step, images[batch], labels[batch])
        progress = {"completed": step, "total": steps, "unit": "steps", "message": f"loss {loss:.4f}"}
        time.sleep(max(pause - (time.monotonic() - began), 0))
        is_stopped = bool(stops)
        if step % every == 0 or step == steps or is_stopped:
            report.write(checkpoint={"path": checkpoints.write(network, step)}, progress=progress)
            written = step
        elif step % 10 == 0:
            report.write(progress=progress)  # a sign of life as well
        if is_stopped and step < steps:
            print(f"asked to stop, checkpoint at step {written}", flush=True)
            return YIELD
    result = {"weights": network.digest(), "accuracy": round(network.accuracy(images, labels), 4), "steps": step}
    report.write(result=result, done=True)
    print(f"done: {json.dumps(result)}", flush=True)
    return 0


def main(environment):
    stops = []  # a handler interrupts the program at any line, so it takes no lock, as threading.Event would
    signal.signal(signal.SIGTERM, lambda *_: stops.append(True))
    faulthandler.register(signal.SIGTERM, chain=True)  # the log then says where a program hung that was stopped
    return train(environment, stops)


if __name__ == "__main__":
    sys.exit(main(os.environ))
