#!/usr/bin/env python3
"""Sends one order to a partner, who is down now and then. It tries once: to try again is for the task and its queue.

It is one member of a set: its index is the order's number, and the partner's address comes as input. What it reports when it
fails says whose fault it was, and that is all that the queue's breaker needs.
"""

import json
import os
import sys
import urllib.error
import urllib.request

UNAVAILABLE = 69  # EX_UNAVAILABLE


def report(path, **fields):
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(fields, separators=(",", ":")) + "\n")


def main(environment):
    file, index = environment.get("LONGTASK_REPORT"), environment["LONGTASK_INDEX"]
    address = f"{environment['LONGTASK_INPUT_partner']}/orders/{index}"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data=b"", method="POST"), timeout=10) as answer:
            receipt = json.load(answer)
    except urllib.error.HTTPError as error:
        said = json.loads(error.read() or b"{}").get("message", error.reason)
        if error.code == 429:  # our own fault: the rate of the queue is too high
            report(file, error={"code": "TooManyCalls", "message": said, "retryAfter": "10s"})
            return 1
        if error.code < 500:
            report(file, error={"code": "Refused", "message": said, "permanent": True})
            return 1
        report(file, error={"code": "PartnerDown", "message": said})
        return UNAVAILABLE
    except OSError as error:  # nobody answers
        report(file, error={"code": "PartnerDown", "message": str(error)})
        return UNAVAILABLE
    print(f"order {index}: receipt {receipt['receipt']}", flush=True)
    report(file, result=receipt, done=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
