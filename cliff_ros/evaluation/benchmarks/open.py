"""A run over a benchmark from the arguments of ``cliff evaluate``, in this process or in another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cliff_ros.datasets.cameras import Cameras
from cliff_ros.evaluation.benchmarks.registry import BENCHMARKS, open_labels
from cliff_ros.evaluation.benchmarks.run import Runner
from cliff_ros.evaluation.bodies import BodyFolder
from cliff_ros.graph.metadata import find_graph, read_metadata
from cliff_ros.graph.onnx_file import OnnxFile
from cliff_ros.pipeline import Pipeline

_CHECKPOINTS = ('.pt', '.pth', '.ckpt', '.safetensors')


def open_runner(args: Any, note: Any) -> Runner:
    """Labels and network of the arguments; note: told of damaged files where these are to be skipped."""
    benchmark = BENCHMARKS[args.dataset]
    labels = open_labels(
        args.dataset,
        Path(args.root).expanduser(),
        args.split,
        Cameras.read(args.cameras),
        note if args.skip_damaged else None,
    )
    boxes, bodies = args.boxes or benchmark.boxes, BodyFolder(args.body)
    pipeline = open_pipeline(args, bodies, boxes == 'detector')
    runner = Runner(benchmark, labels, pipeline, bodies, boxes, args.focal or benchmark.focal)
    runner.choose(args.limit)
    return runner


def open_pipeline(args: Any, bodies: BodyFolder, detects: bool) -> Pipeline:
    """The network of --model with the body in the folder that it was exported with."""
    engine, model = args.engine, args.model
    if Path(model).suffix.lower() in _CHECKPOINTS:
        from cliff_ros.cliff import load_model

        engine, body = 'torch', bodies.file('neutral', load_model(model).body)
    elif Path(model).suffix == '.onnx' or model == 'embedded':
        graph = find_graph(model)
        body = bodies.of_sha256(read_metadata(OnnxFile(graph), graph).body_sha256)
    else:
        body = bodies.file()
    return Pipeline(
        model=model,
        body=body,
        engine=engine,
        detector=args.detector if detects else 'none',
        smoothing=False,
        smooth_boxes=False,
    )
