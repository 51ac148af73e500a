"""``cliff bag``: every image of a recorded bag through the pipeline, into a bag of people at the images' own stamps."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cliff bag``."""
    from cliff_ros import options
    from cliff_ros.engine import ENGINES

    parser.add_argument(
        'source', help='bag of any ROS (folder, .mcap, .db3, .bag), also BAG:/image_topic; or what cliff video takes'
    )
    parser.add_argument('output', metavar='OUT.mcap', type=Path, help='where people, TF, markers and timing go')
    parser.add_argument('--camera', metavar='YAML', help="calibration, instead of the bag's CameraInfo")
    parser.add_argument('--images', action='store_true', help='also the images (JPEG), to be played alone')
    parser.add_argument('--report', metavar='FILE', type=Path, help='write counts and speed as JSON')
    parser.add_argument('--model', default='embedded', help="'embedded' (default) or a runtime graph .onnx")
    parser.add_argument('--body', default='embedded', help="'embedded' (default) or an SMPL file")
    parser.add_argument('--engine', default='auto', choices=ENGINES)
    parser.add_argument('--detector', default='embedded', help="'embedded' (default) or a detector .onnx")
    parser.add_argument('--threads', type=int, default=0, help='of the networks; other numbers may round otherwise')
    parser.add_argument('--max-frames', metavar='N', type=int, help='stop after N frames')
    options.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the people of every image to OUT.mcap; 1 where it was interrupted or images could not be read, else 0.

    InputError where OUT is not named *.mcap or the source is live.
    """
    from cliff_ros import options
    from cliff_ros.commands.open_input import open_input
    from cliff_ros.errors import InputError
    from cliff_ros.files import make_folder
    from cliff_ros.pipeline import Pipeline

    if args.output.suffix != '.mcap':
        raise InputError(f"the output is '{args.output}': name it *.mcap")
    if args.max_frames is not None and args.max_frames < 1:
        raise InputError('--max-frames must be at least 1')
    for path in filter(None, (args.output, args.report)):
        make_folder(path.parent)
    source = open_input(args.source, args.camera)
    try:
        if source.live:
            raise InputError(f"'{args.source}' has no end: give a recording")
        pipeline = Pipeline(
            model=args.model,
            body=args.body,
            engine=args.engine,
            detector=args.detector,
            threads=args.threads,
            options=options.from_arguments(args),
        )
        print(f'{pipeline.engine.name}: {pipeline.engine.reason}')
        return _convert(args, source, pipeline)
    finally:
        source.close()


def _convert(args: argparse.Namespace, source: Any, pipeline: Any) -> int:
    from tqdm import tqdm

    from cliff_ros.files import write_json
    from cliff_ros.record import Take
    from cliff_ros.record.offline import OfflineBag

    started, frames, people_count, complete = time.perf_counter(), 0, 0, True
    bag = OfflineBag(args.output, pipeline.body, pipeline.engine.metadata, pipeline.engine.name)
    every = 0.1 if sys.stderr.isatty() else 10.0
    try:
        total = args.max_frames if args.max_frames else _length(source)
        with tqdm(total=total, unit='frame', mininterval=every) as bar:
            for index, frame in enumerate(source):
                if index == args.max_frames:
                    break
                people = pipeline(frame, vertices=False)
                # A float of seconds since 1970 is good to 0.2 microseconds; TF is looked up by the nanosecond.
                stamp = getattr(source, 'stamp_ns', None)
                stamp = round(frame.stamp * 1e9) if stamp is None else stamp
                image = _rgb(frame) if args.images else None
                bag.add(Take(stamp, frame.camera, people, image, None, frame.frame_id))
                bag.timing(stamp, frame.frame_id, people.timings, len(people))
                frames, people_count = frames + 1, people_count + len(people)
                bar.update()
    except KeyboardInterrupt:
        complete = False
    except BaseException:
        bag.abandon()
        raise
    bag.close()
    seconds = time.perf_counter() - started
    missing = int(getattr(source, 'missing', 0)) if args.max_frames is None else 0
    print(f'{frames} frames, {people_count} people, {frames / max(seconds, 1e-9):.1f} frames/s\nwritten: {args.output}')
    if args.report:
        write_json(
            args.report,
            {
                'source': args.source,
                'output': str(args.output),
                'complete': complete and not missing,
                'frames': frames,
                'people': people_count,
                'missing': missing,
                'fps': frames / max(seconds, 1e-9),
                'engine': pipeline.engine.name,
                'model': args.model,
                'detector': args.detector,
            },
        )
    if missing:
        print(f'cliff bag: {missing} images could not be read and are left out', file=sys.stderr)
    if not complete:
        print(f'cliff bag: interrupted after {frames} frames', file=sys.stderr)
    return 0 if complete and not missing else 1


def _length(source: Any) -> int | None:
    try:
        return len(source)
    except TypeError:
        return None


def _rgb(frame: Any) -> Any:
    return frame.image if frame.order == 'rgb' else frame.image[..., ::-1]
