"""Sends orders to the partner as the operator would: a process for each, which is told its index and the address."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest

import partner

FOLDER = pathlib.Path(__file__).parent


class OrderTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.report = pathlib.Path(folder.name) / "report"
        self.partner = partner.Partner(limit=2, clock=lambda: self.now)
        self.now = 0.0
        server = partner.server(self.partner, 0, seconds=0)
        self.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)

    def send(self, index, address=None):
        self.report.write_text("")
        environment = {
            "PATH": os.environ["PATH"], "LONGTASK_INDEX": str(index), "LONGTASK_REPORT": str(self.report),
            "LONGTASK_INPUT_partner": address or self.address,
        }
        ended = subprocess.run([sys.executable, FOLDER / "order.py"], env=environment, capture_output=True, timeout=60)
        lines = [json.loads(line) for line in self.report.read_text().splitlines()]
        return ended.returncode, lines[-1]

    def test_an_order_gets_a_receipt_and_the_same_one_when_it_is_sent_again(self):
        self.assertEqual(self.send(7), (0, {"result": {"order": "7", "receipt": 1}, "done": True}))
        self.assertEqual(self.send(7)[1]["result"], {"order": "7", "receipt": 1})
        self.assertEqual(self.partner.figures()["orders"], 1)

    def test_a_partner_that_is_down_or_gone_is_at_fault_and_not_the_order(self):
        self.partner.switch(True)
        code, said = self.send(1)
        self.assertEqual((code, said["error"]["code"]), (69, "PartnerDown"))
        code, said = self.send(1, "http://127.0.0.1:1")
        self.assertEqual((code, said["error"]["code"]), (69, "PartnerDown"))

    def test_too_many_calls_are_our_own_fault_and_are_sent_again_later(self):
        for index in range(2):
            self.send(index)
        code, said = self.send(2)
        self.assertEqual((code, said["error"]["code"], said["error"]["retryAfter"]), (1, "TooManyCalls", "10s"))
        self.now = 10.0
        self.assertEqual(self.send(2)[0], 0)
        self.assertEqual(self.partner.figures()["mostInTenSeconds"], 3)


if __name__ == "__main__":
    unittest.main()
