#!/usr/bin/env python3
"""A partner's service, as one knows them: it takes so many calls in ten seconds, and is down now and then.

  POST /orders/ID      takes an order: 200 with a receipt, 429 when there were too many calls, 503 while it is down.
                       An order that comes again gets the receipt that it has.
  POST /down, /up      the switch of the demo
  GET  /figures        what it has seen: {"orders": .., "accepted": .., "tooMany": .., "down": .., "mostInTenSeconds": ..}

Environment:
  LIMIT     calls in ten seconds (default 20)
  SECONDS   how long it works on an order (default 1)
  PORT      (default 8080)
"""

import collections
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WINDOW = 10


class Partner:
    """What the service remembers. Time comes from outside."""

    def __init__(self, limit, clock=time.monotonic):
        self.limit, self.clock = limit, clock
        self.lock = threading.Lock()
        self.is_down = False
        self.calls = collections.deque()
        self.receipts = {}
        self.accepted = self.too_many = self.down = self.most = 0

    def order(self, name):
        """The status and the body of the answer to an order."""
        with self.lock:
            now = self.clock()
            while self.calls and self.calls[0] <= now - WINDOW:
                self.calls.popleft()
            self.calls.append(now)
            self.most = max(self.most, len(self.calls))
            if self.is_down:
                self.down += 1
                return 503, {"message": "the partner is down for maintenance"}
            if len(self.calls) > self.limit:
                self.too_many += 1
                return 429, {"message": f"more than {self.limit} calls in {WINDOW} seconds"}
            self.accepted += 1
            receipt = self.receipts.setdefault(name, {"order": name, "receipt": len(self.receipts) + 1})
            return 200, receipt

    def switch(self, is_down):
        with self.lock:
            self.is_down = is_down

    def figures(self):
        with self.lock:
            return {
                "orders": len(self.receipts), "accepted": self.accepted, "tooMany": self.too_many, "down": self.down,
                "mostInTenSeconds": self.most,
            }


def server(partner, port, seconds):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path in ("/down", "/up"):
                partner.switch(self.path == "/down")
                return self.answer(200, {"down": partner.is_down})
            if not self.path.startswith("/orders/"):
                return self.answer(404, {"message": "POST /orders/ID"})
            status, body = partner.order(self.path.removeprefix("/orders/"))
            if status == 200:
                time.sleep(seconds)
            return self.answer(status, body)

        def do_GET(self):
            return self.answer(200, partner.figures())

        def answer(self, status, body):
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    return ThreadingHTTPServer(("", port), Handler)


if __name__ == "__main__":
    limit, seconds = int(os.environ.get("LIMIT", "20")), float(os.environ.get("SECONDS", "1"))
    server(Partner(limit), int(os.environ.get("PORT", "8080")), seconds).serve_forever()
