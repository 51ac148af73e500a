"""What a recording says about the pipeline: accuracy against exact truth, latency, and what arrived."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import numpy as np

from cliff_ros.demo.recording import STEPS, Messages, Recording
from cliff_ros.demo.run import Scene
from cliff_ros.evaluation.metrics import match
from cliff_ros.evaluation.score import score
from cliff_ros.people import People

# One image: the people the node published, and the people who were there.
_Pair = tuple[People, People]


def make_report(recording: Recording, scene: Scene) -> dict[str, Any]:
    """All numbers of ``report.json``; None where there was nothing to measure.

    ``people_true`` counts the visible people in the images that the node answered: an image it skipped under
    load is a matter of speed (``frames_processed``), not of finding people.
    """
    truth, estimate = recording.truth, recording.estimate
    sent = dict(zip(truth.headers, truth.people, strict=True))
    pairs = [
        (people, sent[header])
        for header, people in zip(estimate.headers, estimate.people, strict=True)
        if header in sent
    ]
    return {
        'scene': asdict(scene),
        'engine': recording.info.get('engine'),
        'model': recording.info.get('model'),
        'body': recording.info.get('body'),
        'body_received': bool(recording.info),
        'body_passed_on': bool(recording.body_npz),
        'cpu_cores': len(os.sched_getaffinity(0)),
        'frames_sent': len(truth.stamps),
        'frames_processed': len(estimate.stamps),
        'frames_dropped_by_node': recording.counters.get('frames_dropped'),
        'images_recorded': len(recording.images),
        'headers_altered': len(estimate.stamps) - len(pairs),
        'stamps_matched': len(pairs),
        **score(pairs),
        'id_switches': _id_switches(pairs),
        'latency_ms': _percentiles(1e-6 * (estimate.received - estimate.stamps), 50, 95, 99),
        'rate_hz': _rate(estimate),
        'node_ms': {step: _percentiles(recording.timing[:, n], 50, 95) for n, step in enumerate(STEPS)}
        if len(recording.timing)
        else {},
        'markers_received': int(recording.mesh_markers.sum()),
        'mesh_messages': len(recording.mesh_markers),
        'tf_received': len(recording.tf_stamps),
        **_transforms(recording),
    }


def _id_switches(pairs: list[_Pair]) -> int:
    """How often somebody is found again under another id than before."""
    known: dict[int, int] = {}
    switches = 0
    for people, true in pairs:
        for i, j in match(people.box, true.box):
            mine, theirs = int(people.id[i]), int(true.id[j])
            switches += known.get(theirs, mine) != mine
            known[theirs] = mine
    return switches


def _transforms(recording: Recording) -> dict[str, Any]:
    """Do the transforms belong to images, and agree with the people in SmplArray?"""
    sent = set(recording.truth.stamps.tolist())
    answers = zip(recording.estimate.stamps.tolist(), recording.estimate.people, strict=True)
    pelvis = {(stamp, f'smpl_{person.id}'): person.joints[0] for stamp, people in answers for person in people}
    keys = list(zip(recording.tf_stamps.tolist(), recording.tf_children, strict=True))
    apart = [
        np.linalg.norm(place - pelvis[key])
        for key, place in zip(keys, recording.tf_translations, strict=True)
        if key in pelvis
    ]
    return {
        'tf_stamps_matched': sum(stamp in sent for stamp, _ in keys),
        'tf_pelvis_compared': len(apart),
        'tf_pelvis_difference_m_max': float(np.max(apart)) if apart else None,
    }


def _rate(messages: Messages) -> float | None:
    """Messages per second as they arrived."""
    if len(messages.received) < 2:
        return None
    return float((len(messages.received) - 1) / (1e-9 * np.ptp(messages.received)))


def _percentiles(values: np.ndarray, *percents: int) -> dict[str, float | None]:
    return {f'p{percent}': float(np.percentile(values, percent)) if len(values) else None for percent in percents}
