"""Runs moto as an S3 server, with one bucket. Arguments: address, port, bucket."""

import os
import signal
import sys

import boto3
from moto.server import ThreadedMotoServer

address, port, bucket = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.environ |= {"AWS_ACCESS_KEY_ID": "story", "AWS_SECRET_ACCESS_KEY": "no secret", "AWS_DEFAULT_REGION": "us-east-1"}
server = ThreadedMotoServer(ip_address=address, port=port)
server.start()
boto3.client("s3", endpoint_url=f"http://{address}:{port}").create_bucket(Bucket=bucket)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
