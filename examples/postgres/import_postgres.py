"""Imports UnicodeData.txt into PostgreSQL: every row exactly once, also when a node comes back that was given up.

A LongTask program. The rows of a batch and the offset behind them are committed in one transaction, so the database
alone says where to go on. Each attempt first writes its number into the import's row, and each transaction changes that
row only where it still has that number. An attempt that was taken for dead and was not finds a higher number, and none
of its rows is committed.

Environment, beside LONGTASK_* and those of libpq (PGHOST, PGUSER, PGPASSWORD, PGDATABASE):
  SOURCE            the file to import
  BATCH_ROWS        rows in one transaction (default 100)
  ROWS_PER_SECOND   pace (default 0: as fast as it goes)
"""

import contextlib
import hashlib
import json
import os
import signal
import sys
import time

import psycopg2
import psycopg2.extras

YIELD = 75  # EX_TEMPFAIL: "checkpointed, run me again"
STOP = {signal.SIGTERM}  # how the operator asks a program to stop

COLUMNS = (
    "code_point", "name", "category", "combining_class", "bidi_class", "decomposition", "decimal_value", "digit",
    "numeric_value", "mirrored", "unicode_1_name", "comment", "uppercase", "lowercase", "titlecase",
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
    run text NOT NULL,             -- the task's run that the rows belong to
    attempt bigint NOT NULL,       -- the attempt that may write: its numbers grow over the task's whole life
    source_sha256 text NOT NULL,
    line integer NOT NULL          -- lines of the source that are in characters
);
"""

# A server that has lost its client ends the session, and with it the locks that the next attempt waits for.
SESSION = (
    "-c idle_in_transaction_session_timeout=30s"
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)


class Fenced(Exception):
    """A newer attempt is at work: this one was given up."""


class PermanentError(Exception):
    """Another attempt would fail in the same way."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Report:
    """The file in which the operator reads what the program has to say."""

    FILE_LIMIT = 2048  # without live reports the kubelet keeps no more

    def __init__(self, path):
        self.path = path

    def write(self, **fields):
        line = (json.dumps(fields, separators=(",", ":")) + "\n").encode()
        if not self.path:
            return
        with open(self.path, "ab") as file:
            if file.tell() + len(line) > self.FILE_LIMIT:
                file.truncate(0)
            file.write(line)


class Import:
    def __init__(self, environment, connection, report):
        self.source = environment["SOURCE"]
        self.batch_rows = int(environment.get("BATCH_ROWS", "100"))
        self.rows_per_second = float(environment.get("ROWS_PER_SECOND", "0"))
        self.task = environment.get("LONGTASK_UID", "by hand")
        self.run = environment.get("LONGTASK_IDEMPOTENCY_PREFIX", "by hand")
        self.attempt = int(environment.get("LONGTASK_ATTEMPT", "1"))
        self.connection, self.report = connection, report
        with open(self.source, encoding="ascii") as file:
            self.lines = file.read().splitlines()
        self.source_sha256 = sha256(self.lines)

    def work(self):
        """Goes on from the database's offset to the end. Returns the exit code."""
        offset = self.begin()
        print(f"attempt {self.attempt} goes on behind line {offset} of {len(self.lines)}", flush=True)
        while offset < len(self.lines):
            started = time.monotonic()
            offset = self.commit_batch(offset)
            self.report.write(checkpoint={"line": offset}, progress=self.progress(offset))
            if offset < len(self.lines) and signal.sigtimedwait(STOP, self.pause(started)):
                print(f"asked to stop, checkpoint at line {offset}", flush=True)
                return YIELD
        result = self.verify()
        self.report.write(checkpoint={"line": offset}, progress=self.progress(offset), result=result, done=True)
        print(f"done: {json.dumps(result)}", flush=True)
        return 0

    def begin(self):
        """Takes the import over from earlier attempts. Returns the offset to go on from."""
        with self.connection, self.connection.cursor() as cursor:
            # Two attempts that begin at once make the tables one after the other.
            cursor.execute("SELECT pg_advisory_xact_lock(1)")
            cursor.execute(SCHEMA)
            cursor.execute(
                "INSERT INTO import VALUES (1, %s, %s, %s, %s, 0) ON CONFLICT DO NOTHING",
                (self.task, self.run, self.attempt, self.source_sha256),
            )
            # It waits for a transaction that is under way, whose offset then counts.
            cursor.execute("SELECT task, run, attempt, source_sha256, line FROM import FOR UPDATE")
            task, run, attempt, source_sha256, line = cursor.fetchone()
            if task == self.task and attempt > self.attempt:
                raise Fenced(f"attempt {self.attempt} begins when attempt {attempt} is at work")
            if run != self.run:
                cursor.execute("DELETE FROM characters")
                source_sha256, line = self.source_sha256, 0
            if source_sha256 != self.source_sha256:
                raise PermanentError("SourceChanged", f"{self.source} is not the file that the import began with")
            cursor.execute(
                "UPDATE import SET task = %s, run = %s, attempt = %s, source_sha256 = %s, line = %s",
                (self.task, self.run, self.attempt, self.source_sha256, line),
            )
            return line

    def commit_batch(self, offset):
        """Commits the rows behind the offset together with the offset behind them. Returns that offset."""
        batch = self.lines[offset : offset + self.batch_rows]
        rows = [(number, *line.split(";")) for number, line in enumerate(batch, start=offset + 1)]
        with self.connection, self.connection.cursor() as cursor:
            # This locks the row until the commit: a newer attempt waits for that, or has written its number already.
            cursor.execute(
                "UPDATE import SET line = %s WHERE task = %s AND attempt = %s AND line = %s",
                (offset + len(rows), self.task, self.attempt, offset),
            )
            if cursor.rowcount != 1:
                raise Fenced(f"attempt {self.attempt} is not the newest any more: its rows are not committed")
            psycopg2.extras.execute_values(cursor, "INSERT INTO characters VALUES %s", rows)
        return offset + len(rows)

    def progress(self, offset):
        return {"completed": offset, "total": len(self.lines), "unit": "rows"}

    def pause(self, started):
        """Seconds left of the time that a batch should take."""
        if self.rows_per_second <= 0:
            return 0
        return max(self.batch_rows / self.rows_per_second - (time.monotonic() - started), 0)

    def verify(self):
        """Writes the source again from the rows in the database: the same digest means the same bytes."""
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM characters ORDER BY line")
            imported = [";".join(row) for row in cursor]
        result = {"rows": len(imported), "sha256": sha256(imported)}
        if result != {"rows": len(self.lines), "sha256": self.source_sha256}:
            raise PermanentError("Mismatch", f"the database has {result}, the source has {self.source_sha256}")
        return result


def sha256(lines):
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def main(environment):
    report = Report(environment.get("LONGTASK_REPORT"))
    # It waits until the program asks for it, between two batches.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    try:
        with contextlib.closing(psycopg2.connect(connect_timeout=10, options=SESSION)) as connection:
            return Import(environment, connection, report).work()
    except PermanentError as error:
        code, permanent, message = error.code, True, str(error)
    except Fenced as error:
        code, permanent, message = "Fenced", False, str(error)
    except psycopg2.OperationalError as error:
        code, permanent, message = "DatabaseAway", False, str(error)
    print(f"{code}: {message}", file=sys.stderr)
    report.write(error={"code": code, "message": message[:500], "permanent": permanent})
    return 1


if __name__ == "__main__":
    sys.exit(main(os.environ))
