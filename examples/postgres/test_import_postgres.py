"""Runs the import as the operator would, with a PostgreSQL of its own: stopped, killed, cut off, and come back."""

import contextlib
import glob
import hashlib
import importlib.util
import itertools
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = pathlib.Path(__file__).with_name("import_postgres.py")
ROWS = 2000
TEXT = "".join(f"{n:04X};NAME {n};Lu;0;L;;;;;N;;;;{n + 32:04X};\n" for n in range(ROWS))
SHA256 = hashlib.sha256(TEXT.encode()).hexdigest()

# The import, to which something happens when it has inserted rows for the Nth time, and has not committed them.
BEFORE_COMMIT = """
import os, signal, sys, import_postgres
insert, left = import_postgres.psycopg2.extras.execute_values, int(sys.argv[2])
import_postgres.SESSION = os.environ.get("SESSION", import_postgres.SESSION)
def insert_and_be_struck(*arguments):
    global left
    insert(*arguments)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.Signals[sys.argv[1]])
import_postgres.psycopg2.extras.execute_values = insert_and_be_struck
sys.exit(import_postgres.main(os.environ))
"""

# Likewise, when it has committed a batch for the Nth time.
BEHIND_COMMIT = """
import os, signal, sys, import_postgres
commit, left = import_postgres.Import.commit_batch, int(sys.argv[2])
def commit_and_be_struck(*arguments):
    global left
    offset = commit(*arguments)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.Signals[sys.argv[1]])
    return offset
import_postgres.Import.commit_batch = commit_and_be_struck
sys.exit(import_postgres.main(os.environ))
"""


def programs():
    """Where initdb is: distributions keep it out of PATH."""
    found = shutil.which("initdb")
    folders = [os.path.dirname(found)] if found else sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    return folders[-1] if folders else None


class Server:
    """A PostgreSQL that is gone with its folder. It refuses to run as root, so then it is somebody else's."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.data = self.folder / "data"
        self.user = {}
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
            self.user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
        self.run("initdb", "--username=import", "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync")
        settings = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c fsync=off"
        self.run("pg_ctl", "--wait", f"--log={self.folder}/log", f"--options={settings}", "start")

    def run(self, program, *arguments):
        command = [os.path.join(programs(), program), f"--pgdata={self.data}", *arguments]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", **self.user)
        if done.returncode != 0:
            raise AssertionError(f"{program} ends with {done.returncode}: {done.stderr.decode()}")

    def stop(self):
        self.run("pg_ctl", "--wait", "--mode=immediate", "stop")

    @contextlib.contextmanager
    def session(self, database):
        import psycopg2

        with contextlib.closing(psycopg2.connect(host=str(self.folder), user="import", dbname=database)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor


class Task:
    numbers = itertools.count(1)

    def __init__(self, server, folder):
        self.server, self.folder = server, pathlib.Path(folder)
        self.source = self.folder / "UnicodeData.txt"
        self.source.write_text(TEXT)
        self.database = f"task_{next(self.numbers)}"
        self.uid, self.run, self.attempt = "uid-1", "uid-1/1", 0
        with server.session("postgres") as cursor:
            cursor.execute(f"CREATE DATABASE {self.database}")

    def report(self, attempt):
        return self.folder / f"report-{attempt}"

    def start(self, script=None, *arguments, **settings):
        """Starts the next attempt: of the program, or of a script that plays it a trick."""
        self.attempt += 1
        self.report(self.attempt).write_text("")
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{PROGRAM.parent}:{os.environ.get('PYTHONPATH', '')}",
            "PGHOST": str(self.server.folder),
            "PGUSER": "import",
            "PGDATABASE": self.database,
            "SOURCE": str(self.source),
            "BATCH_ROWS": "50",
            "LONGTASK_REPORT": str(self.report(self.attempt)),
            "LONGTASK_UID": self.uid,
            "LONGTASK_IDEMPOTENCY_PREFIX": self.run,
            "LONGTASK_ATTEMPT": str(self.attempt),
            **settings,
        }
        command = [sys.executable, PROGRAM] if script is None else [sys.executable, "-c", script, *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end(self, process, expected):
        output, _ = process.communicate(timeout=60)
        if process.returncode != expected:
            raise AssertionError(f"exit {process.returncode}, want {expected}\n{output}")
        return output

    def reports(self, attempt):
        return [json.loads(line) for line in self.report(attempt).read_text().splitlines()]

    def query(self, text):
        with self.server.session(self.database) as cursor:
            cursor.execute(text)
            return cursor.fetchall()

    def rows(self):
        """How many rows there are, how many different ones, the last line, and the offset that counts."""
        return self.query(
            "SELECT count(*)::int, count(DISTINCT code_point)::int, coalesce(max(characters.line), 0), max(import.line)"
            " FROM import LEFT JOIN characters ON true"
        )[0]

    def until(self, is_so):
        deadline = time.monotonic() + 30
        while not is_so():
            if time.monotonic() > deadline:
                raise AssertionError("it did not come to that")
            time.sleep(0.01)

    def until_standing(self, process):
        state = pathlib.Path(f"/proc/{process.pid}/stat")
        self.until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")

    def until_rows(self, wanted):
        def are_there():
            return self.query("SELECT to_regclass('import') IS NOT NULL")[0][0] and self.rows()[0] >= wanted

        self.until(are_there)


@unittest.skipUnless(importlib.util.find_spec("psycopg2"), "psycopg2 is not installed")
@unittest.skipUnless(programs(), "PostgreSQL is not installed")
class ImportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.server = Server(folder.name)
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.task = Task(self.server, folder.name)

    def assert_complete(self):
        last = self.task.reports(self.task.attempt)[-1]
        self.assertEqual(last["result"], {"rows": ROWS, "sha256": SHA256})
        self.assertIs(last["done"], True)
        self.assertEqual(last["progress"], {"completed": ROWS, "total": ROWS, "unit": "rows"})
        self.assertEqual(self.task.rows(), (ROWS, ROWS, ROWS, ROWS))

    def test_in_one_go(self):
        self.task.end(self.task.start(), 0)
        self.assert_complete()

    def test_an_import_that_is_stopped_goes_on_where_the_database_says(self):
        process = self.task.start(ROWS_PER_SECOND="500")
        self.task.until_rows(300)
        process.send_signal(signal.SIGTERM)
        self.task.end(process, 75)
        line = self.task.rows()[0]
        self.assertEqual(self.task.rows(), (line,) * 4)
        self.assertEqual(self.task.reports(1)[-1]["checkpoint"], {"line": line})
        self.assertLess(line, ROWS)
        self.assertIn(f"attempt 2 goes on behind line {line} of", self.task.end(self.task.start(), 0))
        self.assert_complete()

    def test_an_import_that_is_killed_again_and_again_has_each_row_once(self):
        for wanted in range(100, 601, 100):
            process = self.task.start(ROWS_PER_SECOND="500")
            self.task.until_rows(wanted)
            process.kill()
            self.task.end(process, -signal.SIGKILL)
        self.task.end(self.task.start(), 0)
        self.assert_complete()

    def test_what_a_kill_within_a_transaction_leaves_undone_is_done_again(self):
        for committed in (6, 12, 18):
            self.task.end(self.task.start(BEFORE_COMMIT, "SIGKILL", "7"), -signal.SIGKILL)
            self.assertEqual(self.task.rows(), (50 * committed,) * 4)
        self.task.end(self.task.start(), 0)
        self.assert_complete()

    def test_an_attempt_that_comes_back_when_a_newer_one_has_ended_writes_nothing(self):
        back = self.task.start(BEHIND_COMMIT, "SIGSTOP", "3")  # its node is cut off
        self.task.until_standing(back)
        self.assertIn("attempt 2 goes on behind line 150 of", self.task.end(self.task.start(), 0))
        self.assert_complete()
        back.send_signal(signal.SIGCONT)
        self.assertIn("attempt 1 is not the newest any more", self.task.end(back, 1))
        error = self.task.reports(1)[-1]["error"]
        self.assertEqual((error["code"], error["permanent"]), ("Fenced", False))
        self.assert_complete()

    def test_an_attempt_that_comes_back_beside_a_newer_one_writes_nothing(self):
        back = self.task.start(BEHIND_COMMIT, "SIGSTOP", "3")
        self.task.until_standing(back)
        newer = self.task.start(ROWS_PER_SECOND="500")
        self.task.until_rows(400)
        back.send_signal(signal.SIGCONT)
        self.assertIn("attempt 1 is not the newest any more", self.task.end(back, 1))
        self.task.end(newer, 0)
        self.assert_complete()

    def test_a_newer_attempt_waits_for_a_transaction_that_is_under_way(self):
        back = self.task.start(BEFORE_COMMIT, "SIGSTOP", "3")
        self.task.until_standing(back)
        newer = self.task.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        self.task.until(lambda: self.task.query(waits))
        back.send_signal(signal.SIGCONT)
        # It commits what it had under way, and is fenced at the next batch, or at one soon behind.
        self.assertIn("attempt 1 is not the newest any more", self.task.end(back, 1))
        begun = re.search(r"attempt 2 goes on behind line (\d+) of", self.task.end(newer, 0))
        self.assertGreaterEqual(int(begun[1]), 150)
        self.assert_complete()

    def test_a_transaction_that_is_never_ended_does_not_hold_up_the_next_attempt_for_ever(self):
        gone = self.task.start(BEFORE_COMMIT, "SIGSTOP", "3", SESSION="-c idle_in_transaction_session_timeout=1s")
        self.addCleanup(gone.communicate)
        self.addCleanup(gone.kill)
        self.task.until_standing(gone)
        self.assertIn("attempt 2 goes on behind line 100 of", self.task.end(self.task.start(), 0))
        self.assert_complete()

    def test_an_attempt_that_begins_after_a_newer_one_is_refused(self):
        process = self.task.start(ROWS_PER_SECOND="500", LONGTASK_ATTEMPT="7")
        self.task.until_rows(100)
        self.assertIn("attempt 2 begins when attempt 7 is at work", self.task.end(self.task.start(), 1))
        process.send_signal(signal.SIGTERM)
        self.task.end(process, 75)

    def test_attempts_of_another_task_have_numbers_of_their_own(self):
        self.task.end(self.task.start(LONGTASK_ATTEMPT="7"), 0)
        self.task.uid, self.task.run, self.task.attempt = "uid-2", "uid-2/1", 0
        self.assertIn("behind line 0 of", self.task.end(self.task.start(), 0))
        self.assert_complete()

    def test_a_run_from_the_beginning_starts_over(self):
        self.task.end(self.task.start(), 0)
        self.task.run = "uid-1/2"
        self.assertIn("behind line 0 of", self.task.end(self.task.start(), 0))
        self.assert_complete()

    def test_another_source_is_a_permanent_error(self):
        self.task.end(self.task.start(), 0)
        self.task.source.write_text(TEXT.replace("NAME", "TITLE"))
        self.task.end(self.task.start(), 1)
        error = self.task.reports(2)[-1]["error"]
        self.assertEqual((error["code"], error["permanent"]), ("SourceChanged", True))

    def test_a_changed_row_is_found_at_the_end(self):
        self.task.end(self.task.start(), 0)
        with self.server.session(self.task.database) as cursor:
            cursor.execute("UPDATE characters SET name = 'WRONG' WHERE line = 7")
        self.task.end(self.task.start(), 1)
        self.assertEqual(self.task.reports(2)[-1]["error"]["code"], "Mismatch")

    def test_a_server_that_is_away_is_an_error_that_passes(self):
        self.task.end(self.task.start(PGHOST="/no/such/folder"), 1)
        error = self.task.reports(1)[-1]["error"]
        self.assertEqual((error["code"], error["permanent"]), ("DatabaseAway", False))

    def test_reports_stay_within_their_limits(self):
        self.task.end(self.task.start(BATCH_ROWS="10"), 0)
        self.assertLessEqual(self.task.report(1).stat().st_size, 2048)
        self.assert_complete()


if __name__ == "__main__":
    unittest.main()
