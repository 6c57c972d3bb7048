"""Calls as rows of a document: latencies, stages, errors, rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bench.measure.document import MaskIou, Row
from bench.measure.loops import Shot

NETWORK = "network"
"""What the service's stages leave of the caller's time; in process, that of the calls."""
SENDER = "sender"
NETWORK_NOTE = (
    f"stage {NETWORK}: what the client saw less the service's own stages, so the wire, gRPC and "
    "protobuf on both sides, the service's hand-overs between threads, and unpacking the mask"
)


def row_of(
    shots: Sequence[Shot],
    *,
    name: str,
    group: str,
    mask_iou: MaskIou | None = None,
    figures: Mapping[str, float] | None = None,
    offered_per_s: float | None = None,
    note: str = "",
) -> Row:
    """Samples in ms since the intended time, of the calls that were answered; failed ones are
    counted by code. offered_per_s: of an open loop, whose sender is a stage too."""
    answered = [shot for shot in shots if not shot.error]
    own = dict(figures or {})
    if answered:
        passed_s = max(shot.done_s for shot in shots) - min(shot.intended_s for shot in shots)
        own = {"rate_per_s": len(answered) / passed_s, **own}
    if offered_per_s is not None:
        own["offered_per_s"] = offered_per_s
    return Row(
        name=name,
        group=group,
        samples=[1000 * shot.latency_s for shot in answered],
        mask_iou=mask_iou,
        stages=stages_of(answered, with_sender=offered_per_s is not None),
        errors=dict(sorted(Counter(shot.error for shot in shots if shot.error).items())),
        figures=own,
        note=note,
    )


def with_network(stages: Mapping[str, float], passed: float) -> dict[str, float]:
    """Stages of a call that took `passed`, in the same unit, and the rest."""
    return {**stages, NETWORK: passed - sum(stages.values())}


def by_stage(calls: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Stages of each call -> values of each stage that any call spent time in."""
    names = dict.fromkeys(name for stages in calls for name, spent in stages.items() if spent)
    return {name: [stages.get(name, 0.0) for stages in calls] for name in names}


def stages_of(shots: Sequence[Shot], *, with_sender: bool = False) -> dict[str, list[float]]:
    """ms of every stage that took time in any call, the last of them `NETWORK`; with_sender: how
    long after its intended time each was sent, so that stages add up to latencies."""
    calls = [with_network(shot.stages, shot.latency_s - shot.late_s) for shot in shots]
    if with_sender:
        calls = [{**one, SENDER: shot.late_s} for one, shot in zip(calls, shots, strict=True)]
    return {name: [1000 * one for one in spent_s] for name, spent_s in by_stage(calls).items()}
