from __future__ import annotations

import json
import mmap
import os
from pathlib import Path

from bench import memory
from bench.measure.document import Document


def test_each_state_of_the_service_has_its_memory_and_no_torch(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / "found.json"
    short = ("--clicks", "4", "--encodes", "2", "--held", "3", "--large-side", "64")
    arguments = ["--bundle", str(tiny_bundle), "--json", str(path), *short]
    assert memory.main([*arguments, "--", "--threads", "1"]) == 0
    document = Document.from_json(json.loads(path.read_text("utf-8")))
    rows = {row.name: row for row in document.rows}
    started = rows["after the start"]
    assert 0 < started.samples[0] <= 1.001 * started.figures["peak_mb"]  # samples are rounded
    assert "holding 3 images and 4 masks of each" in rows
    assert rows["one held image"].figures["reported_mb"] > 0
    assert rows["imports of the service"].samples[0] > 1
    (figure,) = document.figures
    assert figure.key == "resident_mb_tiny"
    assert figure.value >= 0.999 * started.samples[0]
    assert "no torch in the process" in figure.detail


def test_a_library_in_a_process_is_found_by_its_name_or_folder(tmp_path: Path) -> None:
    for name in ("lib/libtorch_cpu.so", "torch/_C.so", "lib/libonnx.so"):
        library = tmp_path / name
        library.parent.mkdir(exist_ok=True)
        library.write_bytes(b"\0" * mmap.PAGESIZE)
    opened = [path.open("rb") for path in sorted(tmp_path.glob("*/*.so"))]
    maps = [mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) for file in opened]
    found = [path for path in memory._mapped(os.getpid(), "torch") if str(tmp_path) in path]
    for one in [*maps, *opened]:
        one.close()
    assert [Path(path).name for path in found] == ["libtorch_cpu.so", "_C.so"]
