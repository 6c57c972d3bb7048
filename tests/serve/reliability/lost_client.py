"""A station to be killed: it holds an image in a session and is sending another one.

`python -m tests.serve.reliability.lost_client HOST:PORT IMAGE NUM_BYTES` says "holding" when the
session's image is held and the upload of so many bytes has begun.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.reliability.asking import connect, create


def main() -> None:
    address, image, num_bytes = sys.argv[1], Path(sys.argv[2]).read_bytes(), int(sys.argv[3])

    def steps() -> Iterator[pb.SessionRequest]:
        yield pb.SessionRequest(image=pb.Image(file=image))
        threading.Event().wait()

    channel, stub = connect(address)
    with channel:
        session = stub.Session(steps())  # dropped, it would be cancelled
        next(session)
        upload = stub.CreateEmbedding.future(create(bytes(num_bytes)))
        print("holding", flush=True)
        upload.exception()


if __name__ == "__main__":
    main()
