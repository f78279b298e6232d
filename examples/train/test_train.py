"""Runs the training as the agent would have it: stopped, killed, and resumed from what was saved."""

import gzip
import importlib.util
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = pathlib.Path(__file__).with_name("train.py")


class Task:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.directory, self.report = self.folder / "checkpoints", self.folder / "report"
        self.saved = self.folder / "saved"
        self.data = self.folder / "digits.csv.gz"
        digits = random.Random(1)
        rows = [[digits.randrange(17) for _ in range(64)] + [row % 10] for row in range(256)]
        with gzip.open(self.data, "wt") as file:
            file.writelines(",".join(map(str, row)) + "\n" for row in rows)
        self.store = self.folder / "store"  # what the agent has saved

    def start(self, **settings):
        """Starts an attempt with nothing but what was saved, as on another node."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        self.report.write_text("")
        if self.store.exists():
            shutil.copytree(self.store, self.directory / "restored")
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "DATA": str(self.data),
            "HIDDEN": "16",
            "STEPS": "60",
            "CHECKPOINT_STEPS": "10",
            "LONGTASK_CHECKPOINT_DIR": str(self.directory),
            "LONGTASK_SAVED": str(self.saved),
            "LONGTASK_REPORT": str(self.report),
            **settings,
        }
        return subprocess.Popen(
            [sys.executable, PROGRAM], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def reported(self):
        return [json.loads(line) for line in self.report.read_text().splitlines()]

    def save(self):
        """Saves the newest checkpoint that is reported."""
        path = [line["checkpoint"]["path"] for line in self.reported() if "checkpoint" in line][-1]
        shutil.rmtree(self.store, ignore_errors=True)
        shutil.copytree(self.directory / path, self.store)
        self.saved.write_text(json.dumps({"path": path}) + "\n")

    def until_checkpoint(self, process):
        while not any("checkpoint" in line for line in self.reported()):
            if process.poll() is not None:
                raise AssertionError(f"ended with {process.returncode} before a checkpoint")
            time.sleep(0.01)

    def end(self, process):
        output, _ = process.communicate(timeout=60)
        return process.returncode, output


@unittest.skipUnless(importlib.util.find_spec("numpy"), "numpy is not installed")
class Training(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.task = Task(folder.name)

    def result_of(self, task):
        return [line["result"] for line in task.reported() if "result" in line][-1]

    def undisturbed(self):
        code, output = self.task.end(self.task.start())
        self.assertEqual(code, 0, output)
        return self.result_of(self.task)

    def test_a_training_that_is_stopped_and_killed_ends_with_the_same_weights(self):
        expected = self.undisturbed()
        stopped = self.task.start(STEP_SECONDS="0.02")
        self.task.until_checkpoint(stopped)
        stopped.send_signal(signal.SIGTERM)
        code, output = self.task.end(stopped)
        self.assertEqual(code, 75, output)
        self.task.save()
        killed = self.task.start(STEP_SECONDS="0.02")
        self.task.until_checkpoint(killed)
        self.task.save()
        killed.kill()
        self.task.end(killed)
        code, output = self.task.end(self.task.start())
        self.assertEqual(code, 0, output)
        self.assertNotIn("behind step 0 ", output, "it went on")
        self.assertEqual(self.result_of(self.task), expected)

    def test_a_training_that_is_stopped_says_where_it_was(self):
        process = self.task.start(STEP_SECONDS="0.02")
        self.task.until_checkpoint(process)
        process.send_signal(signal.SIGTERM)
        _, output = self.task.end(process)
        self.assertRegex(output, r"train\.py., line \d+ in train")

    def test_only_checkpoints_that_are_older_than_a_safe_one_are_deleted(self):
        process = self.task.start()
        self.task.end(process)
        self.assertEqual(len(list(self.task.directory.glob("step-*"))), 6, "nothing is safe yet")
        self.task.saved.write_text('{"path": "step-40"}\n')
        self.task.end(self.task.start())
        kept = sorted(path.name for path in self.task.directory.glob("step-*"))
        self.assertEqual(kept, ["step-40", "step-50", "step-60"])

    def test_without_a_checkpoint_it_begins_at_the_beginning(self):
        _, output = self.task.end(self.task.start(STEPS="1"))
        self.assertIn("behind step 0 of 1", output)


if __name__ == "__main__":
    unittest.main()
