"""``cliff video``: the pipeline over recorded or live images, without ROS."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cliff video``."""
    from cliff_ros import options, record
    from cliff_ros.engine import ENGINES
    from cliff_ros.render import privacy

    parser.add_argument(
        'source', help='video file, folder of images, bag, device (/dev/video0 or 0), or synthetic[:SEED]'
    )
    parser.add_argument(
        '--camera', metavar='YAML', help='calibration, as camera_calibration saves it; without it distances are a guess'
    )
    parser.add_argument(
        '--output',
        metavar='DIR',
        type=Path,
        help='write overlay.mp4, contact_sheet.png, people.npz and people.jsonl there',
    )
    record.add_arguments(parser)
    privacy.add_argument(parser)
    parser.add_argument('--report', metavar='FILE', type=Path, help='write counts, speed and plausibility as JSON')
    parser.add_argument('--page', metavar='FILE', type=Path, help='write what people look at (.html or .png)')
    parser.add_argument('--model', default='embedded', help="'embedded' (default) or a runtime graph .onnx")
    parser.add_argument('--body', default='embedded', help="'embedded' (default) or an SMPL file")
    parser.add_argument('--engine', default='auto', choices=ENGINES)
    parser.add_argument('--detector', default='embedded', help="'embedded' (default) or a detector .onnx")
    parser.add_argument('--max-frames', metavar='N', type=int, help='stop after N frames')
    parser.add_argument('--fps', type=float, help='frame rate of a folder, or to override what a file states')
    options.add_arguments(parser)


if TYPE_CHECKING:
    from cliff_ros.render.video import VideoFile


def run(args: argparse.Namespace) -> int:
    """Run the pipeline over a source and write what was asked for; 1 where a video ends before the end it states.

    Interrupted, it still writes what was done so far.
    """
    from cliff_ros import options
    from cliff_ros.commands.open_input import open_input
    from cliff_ros.pipeline import Pipeline
    from cliff_ros.record import require

    if args.max_frames is not None and args.max_frames < 1:
        from cliff_ros.errors import InputError

        raise InputError('--max-frames must be at least 1.')
    if args.page:
        from cliff_ros.render.page import check

        check(args.page)
    if args.record and not args.output:
        from cliff_ros.errors import InputError

        raise InputError('--record needs a folder to write to: give --output DIR.')
    require(args.record)
    source = open_input(args.source, args.camera, args.fps)
    try:
        pipeline = Pipeline(
            model=args.model,
            body=args.body,
            engine=args.engine,
            detector=args.detector,
            options=options.from_arguments(args),
        )
        print(f'{pipeline.engine.name}: {pipeline.engine.reason}')
        return _Run(args, source, pipeline).go()
    finally:
        source.close()


class _Run:
    """One pass over a source. Whatever happens, what was done before it is written."""

    def __init__(self, args: argparse.Namespace, source, pipeline) -> None:
        from cliff_ros.evaluation.plausibility import Plausibility
        from cliff_ros.files import make_folder
        from cliff_ros.record import Recorders
        from cliff_ros.render.sheet import Picks
        from cliff_ros.results import PeopleLog

        self.args, self.source, self.pipeline, self.output = args, source, pipeline, args.output
        if self.output:
            make_folder(self.output)
        self.recorders = (
            Recorders(args.record, self.output, pipeline.body, source.fps, args.privacy) if args.record else None
        )
        self.recorded: list[Path] = []
        self.log = PeopleLog(source.camera, self.output)
        self.plausibility = Plausibility(source.camera)
        self.picks = Picks()
        self.video: VideoFile | None = None
        self.people_per_frame: list[int] = []
        self.timings: list[dict[str, float]] = []
        self.seconds = 0.0

    def go(self) -> int:
        from cliff_ros.errors import OutputError, raise_all

        stopped, unwritten, interrupted = None, [], False
        started = time.perf_counter()
        try:
            self._frames()
            if self.source.missing:
                stopped = (
                    f'the video ended {self.source.missing} frames before the end that it states: it is cut '
                    'off or damaged'
                )
        except KeyboardInterrupt:
            # Stopping a camera is how its recording ends; a file was meant to be read to its end.
            interrupted = not self.source.live
            stopped = 'interrupted' if interrupted else None
        except OutputError as error:
            stopped = str(error)
            unwritten.append(error)
        except Exception as error:
            stopped = f'{type(error).__name__}: {error}'
            raise
        finally:
            self.seconds = time.perf_counter() - started
            self._finish(stopped, unwritten)
        raise_all(unwritten)
        if interrupted:
            raise KeyboardInterrupt  # for the exit status
        if self.source.missing:
            print(f'cliff video: {stopped}', file=sys.stderr)
        return 0 if stopped is None else 1

    def _frames(self) -> None:
        from tqdm import tqdm

        limit = self.args.max_frames
        try:
            total = len(self.source) if limit is None else min(limit, len(self.source))
        except TypeError:
            total = limit
        if self.output:
            from cliff_ros.render.video import VideoFile

            camera = self.source.camera
            self.video = VideoFile(self.output / 'overlay.mp4', self.source.fps, camera.width, camera.height)
        # Without a terminal a bar would fill a log file with carriage returns: one line every 10 s is enough.
        with tqdm(total=total, unit='frame', mininterval=0.1 if sys.stderr.isatty() else 10.0) as bar:
            for index, frame in enumerate(self.source):
                if index == limit:
                    break
                people = self._frame(index, frame)
                bar.set_postfix_str(f'{len(people)} people', refresh=False)
                bar.update()

    def _frame(self, index: int, frame):
        people = self.pipeline(frame)
        self.timings.append(people.timings)
        self.log.add(index, frame.stamp, people)
        self.plausibility.add(people)
        if self.video or self.args.page:
            from cliff_ros.render.overlay import draw_people
            from cliff_ros.render.privacy import covered

            start = time.perf_counter()
            image = covered(frame.image, people, frame.camera, self.args.privacy)
            picture = draw_people(image, people, frame.camera, self.pipeline.body.faces)
            if self.video:
                self.video.add(picture)
            self.picks.add(picture, f'{frame.stamp:.2f} s' if not self.source.live else f'frame {index}')
            self.timings[-1]['draw'] = 1e3 * (time.perf_counter() - start)
            self._record(frame, people, image, picture)
        self.people_per_frame.append(len(people))
        return people

    def _record(self, frame, people, image, picture) -> None:
        from cliff_ros.record import Take

        if self.recorders:
            start = time.perf_counter()
            stamp = round(frame.stamp * 1e9)
            self.recorders.add(Take(stamp, frame.camera, people, image, picture, frame.frame_id))
            self.timings[-1]['record'] = 1e3 * (time.perf_counter() - start)

    def _finish(self, stopped: str | None, unwritten: list) -> None:
        """Write each of the results; what cannot be written keeps none of the others from it."""
        from cliff_ros.errors import keeping
        from cliff_ros.render.sheet import save_png

        with keeping(unwritten):
            self.log.close()
        if self.video:
            with keeping(unwritten):
                self.video.close()
            with keeping(unwritten):
                if self.video.frames:
                    sheet = self.picks.sheet(f'cliff video {Path(self.args.source).name}')
                    save_png(self.output / 'contact_sheet.png', sheet)
        if self.recorders:
            self.recorded = self.recorders.close(unwritten)
        if unwritten and not stopped:
            stopped = str(unwritten[0])
        report = self._report(stopped)
        if self.args.report:
            from cliff_ros.files import write_json

            with keeping(unwritten):
                write_json(self.args.report, report)
        if self.args.page:
            from cliff_ros.evaluation.video_page import video_page

            with keeping(unwritten):
                video_page(report, self.people_per_frame, self.picks.kept()).write(self.args.page)
        self._print(report)

    def _report(self, stopped: str | None) -> dict:
        import numpy as np

        counts, camera, engine = self.people_per_frame, self.source.camera, self.pipeline.engine
        stages = dict.fromkeys(stage for timing in self.timings for stage in timing)
        values = {stage: [timing[stage] for timing in self.timings if stage in timing] for stage in stages}
        ours = [sum(ms for stage, ms in timing.items() if stage not in ('draw', 'record')) for timing in self.timings]
        values |= {'pipeline': ours} if ours else {}
        return {
            'source': self.args.source,
            'complete': stopped is None,
            'stopped_by': stopped,
            'frames': len(counts),
            'people': sum(counts),
            'frames_with_people': sum(count > 0 for count in counts),
            'people_per_frame': {'mean': float(np.mean(counts)) if counts else 0.0, 'max': max(counts, default=0)},
            'fps': len(counts) / self.seconds if self.seconds else 0.0,
            'stage_ms': {
                stage: {'p50': float(np.percentile(ms, 50)), 'p95': float(np.percentile(ms, 95))}
                for stage, ms in values.items()
            },
            'camera': {
                'width': camera.width,
                'height': camera.height,
                'f': float(camera.f),
                'calibrated': self.args.camera is not None,
            },
            'engine': engine.name,
            'model': self.args.model,
            'detector': self.args.detector,
            'privacy': self.args.privacy,
            'plausibility': self.plausibility.report(self.log.columns(), self.pipeline.body),
        }

    def _print(self, report: dict) -> None:
        print(
            f'{report["frames"]} frames, people in {report["frames_with_people"]} of them '
            f'({report["people"]} rows, {report["plausibility"]["ids"]} ids), {report["fps"]:.1f} frames/s'
        )
        for stage, ms in report['stage_ms'].items():
            print(f'  {stage:<9} p50 {ms["p50"]:7.1f} ms   p95 {ms["p95"]:7.1f} ms')
        for path in (self.output, self.args.report, self.args.page, *self.recorded):
            if path and path.exists():
                print(f'written: {path}')
