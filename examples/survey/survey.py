#!/usr/bin/env python3
"""Surveys one block of the Unicode standard: how many characters it has, how many letters, and how many pairs of cases.

It is one member of a set: the block comes as input, the counts go back as result. Every few rows it writes a checkpoint that
has the counts so far, so whoever goes on needs nothing else.

Environment, beside LONGTASK_*:
  DATA              the folder with Blocks.txt and UnicodeData.txt
  ROWS_PER_SECOND   pace (default 0: as fast as it goes)
"""

import json
import os
import pathlib
import signal
import sys

from cases import UnknownCase, is_pair

YIELD = 75  # EX_TEMPFAIL: "checkpointed, run me again"
STOP = {signal.SIGTERM}  # how the operator asks a program to stop
ROWS_PER_CHECKPOINT = 20
LETTERS = ("Lu", "Ll", "Lt", "Lm", "Lo")


def report(path, **fields):
    if path:
        with open(path, "a", encoding="utf-8") as file:
            if file.tell() > 1500:  # the operator reads 2048 bytes
                file.truncate(0)
            file.write(json.dumps(fields, separators=(",", ":")) + "\n")


def rows_of(data, block):
    """The rows of UnicodeData.txt whose code point is in the block; none if there is no such block."""
    for line in (data / "Blocks.txt").read_text(encoding="utf-8").splitlines():
        codes, _, name = line.partition("; ")
        if name == block:
            first, last = (int(code, 16) for code in codes.split(".."))
            break
    else:
        return None
    rows = (line.split(";") for line in (data / "UnicodeData.txt").read_text(encoding="ascii").splitlines())
    return [row for row in rows if first <= int(row[0], 16) <= last]


def count(row, counts):
    """Adds a row to the counts. Raises UnknownCase before anything is added."""
    pair = is_pair(code=row[0], upper=row[12], lower=row[13], title=row[14])
    counts["characters"] += 1
    counts["letters"] += row[2] in LETTERS
    counts["pairs"] += pair


def main(environment):
    file = environment.get("LONGTASK_REPORT")
    # It waits until the program asks for it, behind a checkpoint.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)

    block = environment["LONGTASK_INPUT_block"]
    rows = rows_of(pathlib.Path(environment["DATA"]), block)
    if rows is None:
        report(file, error={"code": "UnknownBlock", "message": f"there is no block {block}", "permanent": True})
        return 1
    checkpoint = json.loads(environment.get("LONGTASK_CHECKPOINT", "{}"))
    done = checkpoint.get("row", 0)
    counts = checkpoint.get("counts", {"characters": 0, "letters": 0, "pairs": 0})
    pace = float(environment.get("ROWS_PER_SECOND", "0"))
    print(f"{block}: going on behind row {done} of {len(rows)}", flush=True)

    for number, row in enumerate(rows[done:], start=done + 1):
        try:
            count(row, counts)
        except UnknownCase as error:
            print(f"row {number}: {error}", file=sys.stderr)
            report(file, error={"code": "UnknownCase", "message": f"{block}, row {number}: {error}", "permanent": True})
            return 1
        if number % ROWS_PER_CHECKPOINT == 0:
            report(file, checkpoint={"row": number, "counts": counts}, progress=progress(number, rows))
            pause = ROWS_PER_CHECKPOINT / pace if pace else 0
            if signal.sigtimedwait(STOP, pause):
                return YIELD
    report(file, progress=progress(len(rows), rows), result={"block": block, **counts}, done=True)
    return 0


def progress(number, rows):
    return {"completed": number, "total": len(rows), "unit": "rows"}


if __name__ == "__main__":
    sys.exit(main(os.environ))
