"""A session of grpc_requests, in its environment: `reflection_session.py HOST:PORT`."""

from __future__ import annotations

import base64
import sys
from importlib.metadata import version

from grpc_requests import Client

SERVICE = "apsam_serve.v1.SegmentationService"


def main(address: str) -> None:
    client = Client.get_by_endpoint(address)
    assert SERVICE in client.service_names, client.service_names
    health = client.request("grpc.health.v1.Health", "Check", {})
    assert health == {"status": "SERVING"}, health
    pixels = base64.b64encode(bytes([40, 60, 90]) * 60 * 80).decode()  # it takes JSON's form
    image = {"raw_rgb": {"width": 80, "height": 60, "data": pixels}}
    created = client.request(SERVICE, "CreateEmbedding", {"image": image})
    prompts = [{"points": [{"x": 20, "y": 20}]}]
    request = {"handle": created["embedding"]["handle"], "prompts": prompts}
    answer = client.request(SERVICE, "Segment", request)
    assert answer["segmentations"][0]["branch"] == "BRANCH_CLUSTERS", answer
    print(
        "health, CreateEmbedding, Segment by reflection alone, on grpcio "
        f"{version('grpcio')} and protobuf {version('protobuf')}"
    )


if __name__ == "__main__":
    main(sys.argv[1])
