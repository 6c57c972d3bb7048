"""Holds our definition of the protocol to that of Triton's own client, field by field.

Runs in the environment of that client, which cannot load our generated code beside its own:

    protoc --descriptor_set_out=ours.bin ... ; python descriptors.py ours.bin
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from tritonclient.grpc import model_config_pb2, service_pb2

PACKAGE = ".inference"


def differences(ours: descriptor_pb2.FileDescriptorProto) -> list[str]:
    """What of ours is not in theirs, or is there under another number, type or label."""
    theirs: dict[str, Any] = {}
    for module in (service_pb2, model_config_pb2):
        their_file = descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        theirs |= _facts(their_file)
    mine = _facts(ours)
    assert mine, "our descriptors are empty"
    return [
        f"{name}: ours {fact}, theirs {theirs.get(name)}"
        for name, fact in mine.items()
        if theirs.get(name) != fact
    ]


def _facts(file: descriptor_pb2.FileDescriptorProto) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for message in file.message_type:
        facts |= _message_facts(f"{PACKAGE}.{message.name}", message)
    for enum in file.enum_type:
        for value in enum.value:
            facts[f"{PACKAGE}.{enum.name}.{value.name}"] = value.number
    for service in file.service:
        for method in service.method:
            facts[f"{PACKAGE}.{service.name}/{method.name}"] = (
                *(method.input_type, method.output_type),
                *(method.client_streaming, method.server_streaming),
            )
    return facts


def _message_facts(name: str, message: descriptor_pb2.DescriptorProto) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for field in message.field:
        oneof = (
            message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None
        )
        facts[f"{name}.{field.name}"] = (
            field.number,
            descriptor_pb2.FieldDescriptorProto.Type.Name(field.type),
            descriptor_pb2.FieldDescriptorProto.Label.Name(field.label),
            field.type_name,
            oneof,
        )
    for nested in message.nested_type:
        facts |= _message_facts(f"{name}.{nested.name}", nested)
    return facts


def main() -> int:
    files = descriptor_pb2.FileDescriptorSet.FromString(Path(sys.argv[1]).read_bytes())
    (ours,) = files.file
    found = differences(ours)
    for line in found:
        print(line)
    print(f"{len(_facts(ours))} fields, values and methods compared, {len(found)} differ")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
