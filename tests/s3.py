"""A real S3 server program, moto's, for tests."""

import socket
import time

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def wait_for(host, port, server):
    """Until the server's process answers there."""
    for _ in range(1200):
        assert server.poll() is None, "the S3 server ended"
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the S3 server did not come up")
