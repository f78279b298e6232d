"""Runs the survey as the operator would: in attempts that are stopped and go on, with both versions."""

import json
import os
import pathlib
import signal
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

FOLDER = pathlib.Path(__file__).parent
BLOCKS = "# a comment\n0040..007F; Latin\n01C0..01CF; Digraphs\n"
# Code, name, category, ..., upper, lower, title: as in UnicodeData.txt.
PAIR = "{:04X};SMALL;Ll;0;L;;;;;N;;;{:04X};;{:04X}"
PLAIN = "{:04X};SIGN;So;0;L;;;;;N;;;;;"
TITLE = "01C6;SMALL DZ;Ll;0;L;;;;;N;;;01C4;;01C5"
LATIN = [(PAIR if n % 2 else PLAIN).format(*[0x40 + n, 0x40, 0x40][: 3 if n % 2 else 1]) for n in range(60)]
DIGRAPHS = [PLAIN.format(0x1C0 + n) for n in range(6)] + [TITLE]


class SurveyTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "Blocks.txt").write_text(BLOCKS)
        (self.folder / "UnicodeData.txt").write_text("\n".join(LATIN + DIGRAPHS) + "\n")
        shutil.copy(FOLDER / "survey.py", self.folder)
        self.report = self.folder / "report"
        self.checkpoint = None

    def start(self, block, version="1_1", **settings):
        shutil.copy(FOLDER / f"cases_{version}.py", self.folder / "cases.py")
        self.report.write_text("")
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "DATA": str(self.folder),
            "LONGTASK_INPUT_block": block,
            "LONGTASK_REPORT": str(self.report),
            **settings,
        }
        if self.checkpoint is not None:
            environment["LONGTASK_CHECKPOINT"] = json.dumps(self.checkpoint)
        return subprocess.Popen(
            [sys.executable, self.folder / "survey.py"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )

    def end(self, process, expected):
        out, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, expected, out + errors)
        lines = [json.loads(line) for line in self.report.read_text().splitlines()]
        for line in lines:
            self.checkpoint = line.get("checkpoint", self.checkpoint)
        return out, lines

    def test_counts_a_block(self):
        _, lines = self.end(self.start("Latin"), 0)
        self.assertEqual(lines[-1]["result"], {"block": "Latin", "characters": 60, "letters": 30, "pairs": 30})
        self.assertIs(lines[-1]["done"], True)

    def test_goes_on_where_it_was_stopped(self):
        process = self.start("Latin", ROWS_PER_SECOND="4")  # five seconds between two checkpoints
        deadline = time.monotonic() + 20
        while not self.report.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        self.end(process, 75)
        self.assertEqual(self.checkpoint, {"row": 20, "counts": {"characters": 20, "letters": 10, "pairs": 10}})
        out, lines = self.end(self.start("Latin"), 0)
        self.assertIn("going on behind row 20 of 60", out)
        self.assertEqual(lines[-1]["result"], {"block": "Latin", "characters": 60, "letters": 30, "pairs": 30})

    def test_version_1_0_does_not_know_title_cases_and_1_1_does(self):
        _, lines = self.end(self.start("Digraphs", version="1_0"), 1)
        error = lines[-1]["error"]
        self.assertEqual((error["code"], error["permanent"]), ("UnknownCase", True))
        self.assertIn("row 7: U+01C6 has the title case 01C5", error["message"])
        _, lines = self.end(self.start("Digraphs", version="1_1"), 0)
        self.assertEqual(lines[-1]["result"], {"block": "Digraphs", "characters": 7, "letters": 1, "pairs": 1})

    def test_an_unknown_block_is_a_permanent_error(self):
        _, lines = self.end(self.start("Klingon"), 1)
        self.assertEqual((lines[-1]["error"]["code"], lines[-1]["error"]["permanent"]), ("UnknownBlock", True))


if __name__ == "__main__":
    unittest.main()
