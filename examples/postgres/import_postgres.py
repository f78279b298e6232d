"""Imports UnicodeData.txt into PostgreSQL: every row exactly once, also when a node comes back that was given up.

A LongTask program. The rows of a batch and the offset behind them are committed in one transaction, so the database alone says
where to go on. Each attempt first writes its number into the import's row, and each transaction changes that row only where it
still has that number. An attempt that was taken for dead and was not finds a higher number, and none of its rows is committed.

Environment, beside LONGTASK_* and PG*:
  SOURCE            the file to import
  BATCH_ROWS        rows in one transaction (default 100)
  ROWS_PER_SECOND   pace (default 0: as fast as it goes)
"""

import hashlib
import json
import os
import signal
import sys
import threading
import time

import psycopg2
import psycopg2.extras

YIELD = 75  # EX_TEMPFAIL: "checkpointed, run me again"

COLUMNS = (
    "code_point", "name", "category", "combining_class", "bidi_class", "decomposition", "decimal_value", "digit", "numeric_value",
    "mirrored", "unicode_1_name", "comment", "uppercase", "lowercase", "titlecase",
)

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS characters (
    line integer PRIMARY KEY,
    {", ".join(f"{column} text NOT NULL" for column in COLUMNS)},
    UNIQUE (code_point)
);
CREATE TABLE IF NOT EXISTS import (
    id integer PRIMARY KEY CHECK (id = 1),
    task text NOT NULL,            -- the UID of the task
    run text NOT NULL,             -- the run that the rows belong to
    attempt bigint NOT NULL,       -- the attempt that may write; its numbers grow over the task's whole life
    source_sha256 text NOT NULL,
    line integer NOT NULL          -- lines of the source that are in characters
);
"""


class Fenced(Exception):
    """A newer attempt is at work: this one was given up."""


class PermanentError(Exception):
    """Another attempt would fail in the same way."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Report:
    """The file in which the operator reads what the program has to say."""

    def __init__(self, path):
        self.path = path

    def write(self, **fields):
        if self.path:
            with open(self.path, "a") as file:
                file.write(json.dumps(fields, separators=(",", ":")) + "\n")


class Import:
    def __init__(self, environment, connection, report, stop):
        self.source = environment["SOURCE"]
        self.batch_rows = int(environment.get("BATCH_ROWS", "100"))
        self.rows_per_second = float(environment.get("ROWS_PER_SECOND", "0"))
        self.task = environment.get("LONGTASK_UID", "by hand")
        self.run = environment.get("LONGTASK_IDEMPOTENCY_PREFIX", "by hand")
        self.attempt = int(environment.get("LONGTASK_ATTEMPT", "1"))
        self.connection, self.report, self.stop = connection, report, stop
        with open(self.source, encoding="ascii") as file:
            self.lines = file.read().splitlines()

    def work(self):
        """Goes on from the database's offset to the end. Returns the exit code."""
        offset = self.begin()
        print(f"attempt {self.attempt} goes on behind line {offset} of {len(self.lines)}", flush=True)
        while offset < len(self.lines):
            started = time.monotonic()
            offset = self.commit_batch(offset)
            self.report.write(checkpoint={"line": offset}, progress=self.progress(offset))
            if offset < len(self.lines) and self.stop.wait(self.pause(started)):
                print(f"asked to stop, checkpoint at line {offset}", flush=True)
                return YIELD
        result = self.verify()
        self.report.write(checkpoint={"line": offset}, progress=self.progress(offset), result=result, done=True)
        print(f"done: {json.dumps(result)}", flush=True)
        return 0

    def begin(self):
        """Takes the import over from earlier attempts. Returns the offset to go on from."""
        digest = sha256(self.lines)
        with self.connection, self.connection.cursor() as cursor:
            # Two attempts that begin at once make the tables one after the other.
            cursor.execute("SELECT pg_advisory_xact_lock(1)")
            cursor.execute(SCHEMA)
            cursor.execute(
                "INSERT INTO import VALUES (1, %s, %s, %s, %s, 0) ON CONFLICT DO NOTHING",
                (self.task, self.run, self.attempt, digest),
            )
            cursor.execute("SELECT task, run, attempt, source_sha256, line FROM import FOR UPDATE")
            task, run, attempt, source_sha256, line = cursor.fetchone()
            if task == self.task and attempt > self.attempt:
                raise Fenced(f"attempt {self.attempt} begins when attempt {attempt} is at work")
            if run != self.run:
                cursor.execute("DELETE FROM characters")
                source_sha256, line = digest, 0
            if source_sha256 != digest:
                raise PermanentError("SourceChanged", f"{self.source} is not the file that the import began with")
            cursor.execute(
                "UPDATE import SET task = %s, run = %s, attempt = %s, source_sha256 = %s, line = %s",
                (self.task, self.run, self.attempt, digest, line),
            )
            return line

    def commit_batch(self, offset):
        """Adds the rows behind the offset, and the new offset, in one transaction. Returns that offset."""
        batch = self.lines[offset : offset + self.batch_rows]
        rows = [(offset + at, *line.split(";")) for at, line in enumerate(batch)]
        with self.connection, self.connection.cursor() as cursor:
            psycopg2.extras.execute_values(cursor, "INSERT INTO characters VALUES %s", rows)
            # This locks the row. A newer attempt waits for the commit, or has changed the number: then nothing is committed.
            cursor.execute(
                "UPDATE import SET line = %s WHERE task = %s AND attempt = %s AND line = %s",
                (offset + len(batch), self.task, self.attempt, offset),
            )
            if cursor.rowcount != 1:
                raise Fenced(f"attempt {self.attempt} is not the newest any more: its rows are not committed")
        return offset + len(batch)

    def progress(self, offset):
        return {"completed": offset, "total": len(self.lines), "unit": "rows"}

    def pause(self, started):
        if self.rows_per_second <= 0:
            return 0
        return max(self.batch_rows / self.rows_per_second - (time.monotonic() - started), 0)

    def verify(self):
        """Reads everything back: as many rows as lines, and the same text."""
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM characters ORDER BY line")
            lines = [";".join(row) for row in cursor]
        if lines != self.lines:
            raise PermanentError("WrongRows", f"the table has {len(lines)} rows that are not those of {self.source}")
        return {"rows": len(lines), "sha256": sha256(lines)}


def sha256(lines):
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def main(environment):
    report, stop = Report(environment.get("LONGTASK_REPORT")), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        # The server is known by libpq's own variables: PGHOST, PGUSER, PGPASSWORD.
        with psycopg2.connect(connect_timeout=10) as connection:
            return Import(environment, connection, report, stop).work()
    except PermanentError as error:
        report.write(error={"code": error.code, "message": str(error), "permanent": True})
    except Fenced as error:
        report.write(error={"code": "Fenced", "message": str(error)})
    except psycopg2.OperationalError as error:
        report.write(error={"code": "DatabaseAway", "message": str(error)})
    return 1


if __name__ == "__main__":
    sys.exit(main(os.environ))
