"""An S3 store for trying things out: moto, with one bucket. It takes any keys, and forgets everything when it ends."""

import os
import signal

import boto3
from moto.server import ThreadedMotoServer

PORT = 9000
ENDED = {signal.SIGTERM, signal.SIGINT}

# Blocked, so that it waits for them: as process 1 it would not get them otherwise.
signal.pthread_sigmask(signal.SIG_BLOCK, ENDED)
server = ThreadedMotoServer(ip_address="0.0.0.0", port=PORT)
server.start()
keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
boto3.client("s3", endpoint_url=f"http://127.0.0.1:{PORT}", **keys).create_bucket(Bucket=os.environ["BUCKET"])
signal.sigwait(ENDED)
