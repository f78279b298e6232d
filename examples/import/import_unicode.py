"""Imports UnicodeData.txt into SQLite: every row exactly once, however often the import is interrupted.

A LongTask program. The rows of a batch and the offset behind them are committed in one transaction, so the database
alone says where to go on. What is reported to the operator after each commit is news about the work, not its memory:
a report that is late or lost costs nothing.

Environment, beside LONGTASK_*:
  SOURCE            the file to import
  DATABASE          the SQLite database
  BATCH_ROWS        rows in one transaction (default 100)
  ROWS_PER_SECOND   pace (default 0: as fast as it goes)
"""

import hashlib
import json
import os
import signal
import sqlite3
import sys
import time

YIELD = 75  # EX_TEMPFAIL: "checkpointed, run me again"
STOP = {signal.SIGTERM}  # how the operator asks a program to stop

COLUMNS = (
    "code_point", "name", "category", "combining_class", "bidi_class", "decomposition", "decimal", "digit", "numeric",
    "mirrored", "unicode_1_name", "comment", "uppercase", "lowercase", "titlecase",
)

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS characters (
    line INTEGER PRIMARY KEY,
    {", ".join(f"{column} TEXT NOT NULL" for column in COLUMNS)},
    UNIQUE (code_point)
);
CREATE TABLE IF NOT EXISTS import (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    run TEXT NOT NULL,             -- the task's run that the rows belong to
    source_sha256 TEXT NOT NULL,
    line INTEGER NOT NULL          -- lines of the source that are in characters
);
"""


class PermanentError(Exception):
    """Another attempt would fail in the same way."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Report:
    """The file in which the operator reads what the program has to say."""

    LINE_LIMIT = 1024
    FILE_LIMIT = 2048

    def __init__(self, path):
        self.path = path

    def write(self, **fields):
        line = (json.dumps(fields, separators=(",", ":")) + "\n").encode()
        if len(line) > self.LINE_LIMIT:
            raise ValueError(f"a report line has at most {self.LINE_LIMIT} bytes, this one {len(line)}")
        if not self.path:
            return
        with open(self.path, "ab") as file:
            if file.tell() + len(line) > self.FILE_LIMIT:
                file.truncate(0)
            file.write(line)


class Import:
    def __init__(self, environment, report):
        self.source = environment["SOURCE"]
        self.batch_rows = int(environment.get("BATCH_ROWS", "100"))
        self.rows_per_second = float(environment.get("ROWS_PER_SECOND", "0"))
        self.run_id = environment.get("LONGTASK_IDEMPOTENCY_PREFIX", "by hand")
        self.resuming = "LONGTASK_CHECKPOINT" in environment
        self.report = report

        with open(self.source, encoding="ascii") as file:
            self.lines = file.read().splitlines()
        self.source_sha256 = sha256(self.lines)

        self.database = sqlite3.connect(environment["DATABASE"], isolation_level=None, timeout=10)
        self.database.execute("PRAGMA synchronous = FULL")  # a committed batch survives a power cut, too
        self.database.executescript(SCHEMA)

    def work(self):
        """Goes on from the database's offset to the end. Returns the exit code."""
        offset = self.begin()
        print(f"going on behind line {offset} of {len(self.lines)}", flush=True)
        while offset < len(self.lines):
            started = time.monotonic()
            offset = self.commit_batch(offset)
            self.report.write(checkpoint={"line": offset}, progress=self.progress(offset))
            pause = self.pace(started)
            if offset < len(self.lines) and signal.sigtimedwait(STOP, pause):
                print(f"asked to stop, checkpoint at line {offset}", flush=True)
                return YIELD
        result = self.verify()
        self.report.write(checkpoint={"line": offset}, progress=self.progress(offset), result=result, done=True)
        print(f"done: {json.dumps(result)}", flush=True)
        return 0

    def begin(self):
        """The offset to go on from: 0 for a new run that has no checkpoint, else what the database says."""
        with transaction(self.database):
            found = self.database.execute("SELECT run, source_sha256, line FROM import").fetchone()
            if found is None or (found[0] != self.run_id and not self.resuming):
                self.database.execute("DELETE FROM characters")
                self.database.execute("REPLACE INTO import VALUES (1, ?, ?, 0)", (self.run_id, self.source_sha256))
                return 0
            _, source_sha256, line = found
            if source_sha256 != self.source_sha256:
                raise PermanentError("SourceChanged", f"{self.source} is not the file that the import began with")
            self.database.execute("UPDATE import SET run = ?", (self.run_id,))
            return line

    def commit_batch(self, offset):
        """Commits the next rows together with the offset behind them, and returns that offset."""
        batch = self.lines[offset : offset + self.batch_rows]
        rows = [(number, *line.split(";")) for number, line in enumerate(batch, start=offset + 1)]
        places = ", ".join("?" for _ in range(len(COLUMNS) + 1))
        with transaction(self.database):
            moved = self.database.execute(
                "UPDATE import SET line = ? WHERE run = ? AND line = ?", (offset + len(rows), self.run_id, offset)
            )
            if moved.rowcount != 1:
                raise RuntimeError(f"somebody else has moved the import on from line {offset}")
            self.database.executemany(f"INSERT INTO characters VALUES ({places})", rows)
        return offset + len(rows)

    def pace(self, started):
        """Seconds left of the time that a batch should take."""
        if not self.rows_per_second:
            return 0
        return max(0, self.batch_rows / self.rows_per_second - (time.monotonic() - started))

    def progress(self, offset):
        return {"completed": offset, "total": len(self.lines), "unit": "rows"}

    def verify(self):
        """Writes the source again from the rows in the database: the same digest means the same bytes."""
        rows = self.database.execute(f"SELECT {', '.join(COLUMNS)} FROM characters ORDER BY line")
        imported = [";".join(row) for row in rows]
        result = {"rows": len(imported), "sha256": sha256(imported)}
        if result != {"rows": len(self.lines), "sha256": self.source_sha256}:
            raise PermanentError("Mismatch", f"the database has {result}, the source has {self.source_sha256}")
        return result


class transaction:
    """with transaction(database): all of it or nothing, and nobody else writes meanwhile."""

    def __init__(self, database):
        self.database = database

    def __enter__(self):
        self.database.execute("BEGIN IMMEDIATE")

    def __exit__(self, error_type, error, traceback):
        self.database.execute("COMMIT" if error_type is None else "ROLLBACK")


def sha256(lines):
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("ascii") + b"\n")
    return digest.hexdigest()


def main(environment):
    report = Report(environment.get("LONGTASK_REPORT"))
    # It waits until the program asks for it, between two batches.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    try:
        return Import(environment, report).work()
    except PermanentError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        report.write(error={"code": error.code, "message": str(error)[:500], "permanent": True})
        return 1


if __name__ == "__main__":
    sys.exit(main(os.environ))
