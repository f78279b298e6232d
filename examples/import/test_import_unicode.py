"""Runs the import as the operator would: in attempts that are stopped, killed, and go on."""

import hashlib
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = pathlib.Path(__file__).with_name("import_unicode.py")
ROWS = 2000
TEXT = "".join(f"{n:04X};NAME {n};Lu;0;L;;;;;N;;;;{n + 32:04X};\n" for n in range(ROWS))
SHA256 = hashlib.sha256(TEXT.encode()).hexdigest()

# The import, killed in the 8th transaction (the first only begins the work), its rows inserted but not committed.
DIES_BEFORE_COMMIT = """
import itertools, os, signal, import_unicode
commit, transactions = import_unicode.transaction.__exit__, itertools.count(1)
def die(self, *error):
    if next(transactions) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    commit(self, *error)
import_unicode.transaction.__exit__ = die
import_unicode.main(os.environ)
"""

# The import, asked to stop so many lines behind its first report, wherever that is.
STOPPED_BEHIND_A_LINE = """
import os, signal, sys, import_unicode
left, write = int(os.environ["LINES_LEFT"]), import_unicode.Report.write
def look(frame, event, argument):
    global left
    left -= event == "line"
    if left == 0:
        sys.settrace(None)
        os.kill(os.getpid(), signal.SIGTERM)
    return look
def first(self, **fields):
    import_unicode.Report.write = write
    write(self, **fields)
    sys._getframe(1).f_trace = look
    sys.settrace(look)
import_unicode.Report.write = first
sys.exit(import_unicode.main(os.environ))
"""


class Task:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.source = self.folder / "UnicodeData.txt"
        self.source.write_text(TEXT)
        self.report = self.folder / "report"
        self.run = "uid/1"
        self.checkpoint = None

    def start(self, program=PROGRAM, **settings):
        self.report.write_text("")
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROGRAM.parent),
            "SOURCE": str(self.source),
            "DATABASE": str(self.folder / "characters.sqlite"),
            "BATCH_ROWS": "50",
            "LONGTASK_REPORT": str(self.report),
            "LONGTASK_IDEMPOTENCY_PREFIX": self.run,
            **settings,
        }
        if self.checkpoint is not None:
            environment["LONGTASK_CHECKPOINT"] = self.checkpoint
        return subprocess.Popen(
            [sys.executable, program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self, process, expected):
        out, errors = process.communicate(timeout=60)
        if process.returncode != expected:
            raise AssertionError(f"exit {process.returncode}, want {expected}\n{out}{errors}")
        for line in self.reports():
            if "checkpoint" in line:
                self.checkpoint = json.dumps(line["checkpoint"])
        return out

    def reports(self):
        return [json.loads(line) for line in self.report.read_text().splitlines()]

    def rows(self):
        with sqlite3.connect(self.folder / "characters.sqlite") as database:
            return database.execute("SELECT count(*), count(DISTINCT code_point), max(line) FROM characters").fetchone()

    def wait_for_rows(self, wanted):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if self.rows()[0] >= wanted:
                    return
            except sqlite3.OperationalError:
                pass  # not there yet, or being written
            time.sleep(0.01)
        raise AssertionError(f"{wanted} rows did not come")


class ImportTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.task = Task(folder.name)

    def assert_complete(self):
        last = self.task.reports()[-1]
        self.assertEqual(last["result"], {"rows": ROWS, "sha256": SHA256})
        self.assertIs(last["done"], True)
        self.assertEqual(last["progress"], {"completed": ROWS, "total": ROWS, "unit": "rows"})
        self.assertEqual(self.task.rows(), (ROWS, ROWS, ROWS))

    def test_in_one_go(self):
        self.task.end(self.task.start(), 0)
        self.assert_complete()

    def test_stop_and_go_on(self):
        process = self.task.start(ROWS_PER_SECOND="500")
        self.task.wait_for_rows(300)
        process.send_signal(signal.SIGTERM)
        self.task.end(process, 75)
        line = json.loads(self.task.checkpoint)["line"]
        self.assertEqual(self.task.rows(), (line, line, line))
        self.assertLess(line, ROWS)
        out = self.task.end(self.task.start(), 0)
        self.assertIn(f"going on behind line {line} of", out)
        self.assert_complete()

    def test_killed_again_and_again(self):
        for wanted in range(100, 601, 100):
            process = self.task.start(ROWS_PER_SECOND="500")
            self.task.wait_for_rows(wanted)
            process.kill()
            self.task.end(process, -signal.SIGKILL)
            self.task.checkpoint = None if wanted < 300 else '{"line":50}'  # reports lost, reports late
        self.task.end(self.task.start(), 0)
        self.assert_complete()

    def test_killed_within_a_transaction(self):
        program = self.task.folder / "dies_before_commit.py"
        program.write_text(DIES_BEFORE_COMMIT)
        for before in (0, 50 * 6, 50 * 12):  # each attempt commits 6 batches more
            self.task.end(self.task.start(program), -signal.SIGKILL)
            self.assertEqual(self.task.rows()[0], before + 50 * 6)
        self.task.end(self.task.start(), 0)
        self.assert_complete()

    def test_new_run_from_the_beginning_starts_over(self):
        self.task.end(self.task.start(), 0)
        self.task.run, self.task.checkpoint = "uid/2", None
        self.assertIn("behind line 0 of", self.task.end(self.task.start(), 0))
        self.assert_complete()

    def test_a_stop_is_heard_at_whatever_line_it_comes(self):
        program = self.task.folder / "stopped.py"
        program.write_text(STOPPED_BEHIND_A_LINE)
        for line in range(1, 30):
            with self.subTest(line=line):
                self.task.run = f"uid/{line}"
                self.task.checkpoint = None
                self.task.end(self.task.start(program, LINES_LEFT=str(line), ROWS_PER_SECOND="500"), 75)

    def test_new_run_from_the_latest_checkpoint_goes_on(self):
        self.task.end(self.task.start(), 0)
        self.task.run = "uid/2"
        self.assertIn(f"behind line {ROWS} of", self.task.end(self.task.start(), 0))
        self.assert_complete()

    def test_another_source_is_a_permanent_error(self):
        process = self.task.start(ROWS_PER_SECOND="500")
        self.task.wait_for_rows(100)
        process.send_signal(signal.SIGTERM)
        self.task.end(process, 75)
        self.task.source.write_text(TEXT.replace("NAME", "TITLE"))
        self.task.end(self.task.start(), 1)
        error = self.task.reports()[-1]["error"]
        self.assertEqual((error["code"], error["permanent"]), ("SourceChanged", True))

    def test_a_changed_row_is_found_at_the_end(self):
        process = self.task.start(ROWS_PER_SECOND="500")
        self.task.wait_for_rows(100)
        process.send_signal(signal.SIGTERM)
        self.task.end(process, 75)
        with sqlite3.connect(self.task.folder / "characters.sqlite") as database:
            database.execute("UPDATE characters SET name = 'WRONG' WHERE line = 7")
        self.task.end(self.task.start(), 1)
        self.assertEqual(self.task.reports()[-1]["error"]["code"], "Mismatch")

    def test_a_second_writer_is_refused(self):
        process = self.task.start(ROWS_PER_SECOND="500")
        self.task.wait_for_rows(100)
        with sqlite3.connect(self.task.folder / "characters.sqlite", timeout=10) as database:
            database.execute("UPDATE import SET run = 'uid/2'")
        database.close()
        self.task.end(process, 1)
        self.assertLess(self.task.rows()[0], ROWS)

    def test_reports_stay_within_their_limits(self):
        self.task.end(self.task.start(BATCH_ROWS="10"), 0)
        self.assertLessEqual(self.task.report.stat().st_size, 2048)
        self.assert_complete()


if __name__ == "__main__":
    unittest.main()
