"""What becomes of every command that a document shows.

`RUN`: it is run, in its document's order, with these words in place of those, so that it takes
seconds; "127.0.0.1:50051" becomes a server of the test. `NOT_RUN`: why not; programs of this
project must accept their words all the same. A command that is in neither fails the test.
"""

from __future__ import annotations

from collections.abc import Mapping

_SMALL_BAGS = "--side 128 --workers 1"
_QUICK = "--set epochs=1 --set batch_size=2 --set num_workers=0"
_ANY_PORT = {"127.0.0.1:50051": "127.0.0.1:0"}
_ON_THE_BAG = {"210,180": "20,20"}

RUN: Mapping[str, Mapping[str, str]] = {
    # clients
    "apsam-client segment bag.png --click 210,180 --server 127.0.0.1:50051 --out overlay.png "
    "--json": _ON_THE_BAG,
    "apsam-client segment bag.png --click 210,180 --negative 230,200 --out overlay.png": {
        **_ON_THE_BAG,
        "230,200": "30,30 --server 127.0.0.1:50051",
    },
    "apsam-client propose bag.png --max-proposals 5 --out found.png": {
        "bag.png": "bag.png --server 127.0.0.1:50051"
    },
    "apsam-client watch PICTURES --server 127.0.0.1:50051": {"PICTURES": "PICTURES --once"},
    "apsam-client watch DIR --server HOST:PORT": {
        "DIR": "PICTURES --once",
        "HOST:PORT": "127.0.0.1:50051",
    },
    "apsam-client info --server 127.0.0.1:50051": {},
    "apsam-client health --server 127.0.0.1:50051 --json": {},
    # data
    "apsam-train synth --out out/bags --num-images 600 --seed 1": {"600": f"4 {_SMALL_BAGS}"},
    "apsam-train synth --out out/new --num-images 60 --seed 2 --threats 1-3 --clutter 0.5 "
    "--palettes pixray,sixray": {"60": f"2 {_SMALL_BAGS}"},
    "apsam-train synth --out out/pairs --num-images 20 --seed 3 --energy": {
        "20": f"2 {_SMALL_BAGS}"
    },
    "apsam-train synth --out pool --num-images 144 --seed 31": {"144": f"6 {_SMALL_BAGS}"},
    "apsam-train synth --out test --num-images 40 --seed 32": {"40": f"2 {_SMALL_BAGS}"},
    "apsam-train inspect data/pidray --out out/inspect": {},
    "apsam-train inspect data/hixray --quick --no-pictures": {},
    "apsam-train curate pidray=data/pidray pixray=data/pixray --val-share 0.1 --out out/clean": {
        "curate": "curate --workers 1"
    },
    "apsam-train curate pidray=data/pidray pixray=data/pixray --out data/clean --val-share 0.1": {
        "curate": "curate --workers 1"
    },
    "apsam-train curate data/clean --out data/strict --noise-threshold 2500 --unmapped drop "
    "--link copy": {"curate": "curate --workers 1"},
    "apsam-train curate pidray=data/pidray pixray=data/pixray rail=data/rail --out data/xseg": {
        "curate": "curate --workers 1"
    },
    # rounds
    "apsam-train annotate propose model.safetensors --data boxes --out rounds/1": {},
    "apsam-train annotate propose model.safetensors --data data/hixray --out rounds/1": {},
    "apsam-train annotate accept rounds/1 --corrected corrected.json --reviewer Ada": {},
    "apsam-train annotate collect rounds/1 rounds/2 --with first --out next": {},
    "apsam-train annotate collect rounds/1 --out data/round-1": {},
    "apsam-train annotate report rounds/1 rounds/2 --out rounds.md": {},
    "apsam-train annotate simulate --data pool --test test --out loop --rounds 5 "
    "--images-per-round 24 --steps 80": {"5": "1", "24": "3", "80": "1"},
    # training
    "apsam-train fit --config tiny --data out/bags --out out/run --minutes 3": {
        "--minutes 3": "--minutes 0.01"
    },
    "apsam-train fit --config paper --sam sam_vit_l_0b3195.pth --data out/clean --split train "
    "--val out/clean --val-split val --out out/paper": {"paper ": f"paper {_QUICK} "},
    "apsam-train fit --config paper --data DATA --split train --val DATA --val-split val "
    "--sam sam_vit_l_0b3195.pth --out runs/apsam": {"paper": f"paper {_QUICK}"},
    "apsam-train fit --config paper --data next --start model.safetensors --out runs/2": {
        "paper": f"paper {_QUICK}"
    },
    "apsam-train fit --config tiny --data DATA --start model.safetensors --out runs/head "
    "--set 'trainable=\"category\"' --set category_weight=1.0 --set negatives_per_image=2": {
        "tiny": f"tiny {_QUICK}"
    },
    "apsam-train merge runs/apsam/model.safetensors --sam sam_vit_l_0b3195.pth "
    "--out apsam.safetensors": {},
    "apsam-train halve model.safetensors --out small.safetensors": {},
    "apsam-train evaluate out/paper/model.safetensors floodfill --sam sam_vit_l_0b3195.pth "
    "--data out/clean --split test --pictures out/sheet.jpg": {},
    "apsam-train labels score runs/head/model.safetensors --data DATA --split test "
    "--out scored": {},
    "apsam-train labels compare --data DATA --test TEST --start model.safetensors --config tiny "
    "--set 'augment=\"none\"' --out compared": {"tiny": f"tiny {_QUICK}"},
    "apsam-train labels cluster runs/head/model.safetensors --data DATA --out questioned": {},
    # bundles
    "apsam-export --checkpoint out/run/model.safetensors --out out/bundle --precision fp16 --rtx "
    "--kernels": {"--precision fp16 --rtx --kernels": "--kernels sm_80"},
    "apsam-export --checkpoint model.safetensors --out bundle --precision fp16 --rtx --kernels": {
        "--rtx --kernels": "--kernels sm_80"
    },
    "apsam-export --inspect out/bundle": {},
    "apsam-export --verify out/bundle": {},
    "openssl ecparam -name prime256v1 -genkey -noout -out key.pem": {},
    "openssl ec -in key.pem -pubout -out public.pem": {},
    "apsam-export --checkpoint model.safetensors --out bundle --sign key.pem": {
        "--out bundle": "--out signed"
    },
    # services
    "apsam-serve --bundle bundle --require-signature public.pem": {
        "--bundle bundle": "--bundle signed --listen 127.0.0.1:0"
    },
    "apsam-serve --bundle out/bundle": {"out/bundle": "out/bundle --listen 127.0.0.1:0"},
    "apsam-serve --bundle out/bundle --listen 127.0.0.1:50051": _ANY_PORT,
    "apsam-serve --bundle out/demo/bundle --listen 127.0.0.1:50051": _ANY_PORT,
    "apsam-serve --bundle bundle --listen 127.0.0.1:50051": _ANY_PORT,
    "apsam-serve --bundle out/bundle --listen 0.0.0.0:50051 --allow-plaintext "
    "--budget-bytes 4000000000 --ttl-s 1800": {"0.0.0.0:50051": "0.0.0.0:0"},
    "apsam-serve --bundle out/bundle --console 8080": {
        "--console 8080": "--console 0 --listen 127.0.0.1:0"
    },
    "apsam-console --server 127.0.0.1:50051 --images PICTURES --reviewer ada --round 2": {
        "--round 2": "--round 2 --port 0"
    },
    "LABEL_STUDIO_API_KEY=... python -m integrations.label_studio --server 127.0.0.1:50051 "
    "--label-studio http://localhost:8080 --listen 127.0.0.1:9090": {"9090": "0"},
    # Label Studio's files
    "python -m integrations.label_studio.from_coco rounds/1/proposals.json "
    '--interface interface.xml --address "/data/local-files/?d=bags/{name}" --out tasks.json': {},
    "python -m integrations.label_studio.to_coco export.json --out corrected.json": {},
    "mkdir -p out/cvat": {},
    "cp integrations/cvat/main.py integrations/cvat/function.yaml out/cvat": {},
}

_CLIENTS = "another project's program: make test-clients installs and runs it"
_MANUAL = "tests/serve/operations/test_manual.py runs it, in this order"
_STUDIO = "another project's program: tests/integrations/test_real_label_studio.py, a slow test"
_CVAT = "another project's program, and an account or a cluster: tests/integrations/test_cvat.py"
_BENCH = "takes minutes; tests/bench runs its parts"
_MAKE = "what the Makefile runs must be accepted"

NOT_RUN: Mapping[str, tuple[str, ...]] = {
    _MAKE: ("make ",),
    _BENCH: ("python bench/latency.py ",),
    _CLIENTS: (
        "python -m venv env",
        "env/bin/",
        "apt-get ",
        "LD_LIBRARY_PATH=",
        "npm ",
        "npx ",
        "printf ",
        "h2load ",
        "curl --silent --http2-prior-knowledge ",
    ),
    _MANUAL: (
        "issue",
        "openssl req ",
        "chmod ",
        "apsam-serve --bundle bundle --listen 0.0.0.0:50051 --metrics-port 9464 --tls-key ",
        "apsam-client health --server localhost:50051 --tls-ca ",
        "apsam-client segment bag.png --click 40,30 --server localhost:50051 --tls-ca ",
        "apsam-audit verify ",
        "mv ",
        "sleep ",
        "curl --silent http://localhost:9464/metrics ",
    ),
    _STUDIO: ("ML_BLOCK_LOCAL_IP=",),
    _CVAT: ("python -m venv cvat-env", "cvat-env/bin/", "export PYTHONPATH", "nuctl "),
    "fetches what builds wheels": ("python -m pip wheel ",),
    "four processes: tests/train/test_fit_at_scale.py has two": ("torchrun ",),
    "asks for a collector: tests/serve/operations/test_tracing.py has one": (
        "OTEL_EXPORTER_OTLP_ENDPOINT=",
    ),
}
"""Reason -> how the commands begin."""

FRAGMENTS = (
    "apsam-export --inspect",
    "apsam-export --kernels",
    "apsam-export --verify --record",
    "apsam-serve --backend fake --kserve",
    "apsam-serve --listen 0.0.0.0:50051",
    "apsam-train fit",
    "apsam-train inspect",
    "apsam-train curate",
    "apsam-train annotate",
    "apsam-train annotate accept",
    "apsam-train annotate propose",
    "apsam-train labels",
    "apsam-train synth",
)
"""Parts of commands in sentences: their verbs and options must exist, but more is needed."""
