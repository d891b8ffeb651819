"""Servers that tests start by themselves: an S3 server of this machine."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Iterator
from unittest import mock

_COUNT = itertools.count()


class S3:
    """A running S3 server; this process and those that it starts find it by their environment."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def bucket(self) -> str:
        """The URL of a new, empty bucket."""
        import fsspec

        name = f"bucket-{os.getpid()}-{next(_COUNT)}"
        fsspec.filesystem("s3").mkdir(name)
        return f"s3://{name}"


@contextlib.contextmanager
def s3_server() -> Iterator[S3]:
    """Start moto's S3 server on a free port of 127.0.0.1, and say where it is in the environment."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    try:
        with mock.patch.dict(os.environ, settings):
            yield S3(settings["AWS_ENDPOINT_URL"])
    finally:
        server.stop()
