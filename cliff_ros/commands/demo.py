"""``cliff demo``: the main job, measured. Camera, node and recorder as separate processes over DDS."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

REPLAY = 'replay.html'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cliff demo``."""
    from cliff_ros import record
    from cliff_ros.engine import ENGINES

    parser.add_argument(
        '--output',
        metavar='DIR',
        type=Path,
        default=Path('out/demo'),
        help='for report.json, overlay.mp4, contact_sheet.png, recording.npz and logs (default: out/demo)',
    )
    parser.add_argument('--seconds', type=float, default=20.0)
    parser.add_argument('--rate', type=float, default=15.0, help='images per second (default: 15)')
    parser.add_argument('--width', type=int, default=1280)
    parser.add_argument('--height', type=int, default=720)
    parser.add_argument('--people', type=int, default=3, help='in the scene (default: 3)')
    parser.add_argument('--seed', type=int, default=0, help='of the scene (default: 0)')
    parser.add_argument('--model', default='embedded', help="'embedded' (default) or a runtime graph .onnx")
    parser.add_argument('--body', default='embedded', help="'embedded' (default) or the model's SMPL file")
    parser.add_argument('--detector', default='embedded', help="'embedded' (default) or a detector .onnx")
    parser.add_argument('--engine', default='auto', choices=ENGINES)
    parser.add_argument('--view', action='store_true', help='show it in a browser while it runs (cliff view)')
    record.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Play a rendered scene through camera, node and recorder, then write report, video, pictures and replay.

    1 where a process failed or the report shows that it did not work, else 0.
    """
    from cliff_ros.record import require

    _require_ros()
    require([*args.record, *(['html'] if args.view else [])])  # the page and its replay need the same
    scene = _scene(args)
    node = {name: getattr(args, name) for name in ('model', 'body', 'detector', 'engine')}
    from cliff_ros.pipeline import Pipeline

    Pipeline(**node)  # a file that cannot be used is said now, not in a child's log

    from cliff_ros.demo.draw import draw_recording
    from cliff_ros.demo.processes import ProcessFailed
    from cliff_ros.demo.recording import Recording
    from cliff_ros.demo.report import make_report
    from cliff_ros.demo.run import play
    from cliff_ros.demo.table import failure, render
    from cliff_ros.errors import OutputError, keeping, raise_all
    from cliff_ros.files import make_folder, unwritable, write_json
    from cliff_ros.record import Recorders

    make_folder(args.output)
    for stale in ('report.json', 'recording.npz', 'images.npz', 'overlay.mp4', 'contact_sheet.png', REPLAY):
        try:
            (args.output / stale).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(args.output / stale, error) from error
    print(f'cliff demo: camera, node and recorder, each a process, over DDS; logs in {args.output}/logs')
    try:
        play(scene, args.output, node, args.view)
    except ProcessFailed as error:
        print(f'\ncliff demo: it did not work: {error}', file=sys.stderr)
        return 1
    recording = Recording.load(args.output)
    report = make_report(recording, scene)
    problem = failure(report)
    report['worked'], report['problem'] = problem is None, problem
    unwritten: list[OutputError] = []
    pictures = 0
    made: list[Recorders] = []

    def recorders(body) -> Recorders:
        optional = () if 'html' in args.record else ('html',)
        made.append(Recorders(['html', *args.record], args.output, body, scene.rate, optional=optional))
        return made[0]

    with keeping(unwritten):
        write_json(args.output / 'report.json', report)
    with keeping(unwritten):
        pictures = draw_recording(recording, args.output, scene.rate, recorders)
    recorded = made[0].close(unwritten) if made else []
    print(f'\n{render(report)}\n')
    if (args.output / 'report.json').exists():
        print(f'Numbers:  {args.output / "report.json"}')
    if pictures:
        print(f'Pictures: {args.output / "overlay.mp4"}, {args.output / "contact_sheet.png"}')
    _say_where_to_look(args, recorded, made[0].missing if made else [])
    if problem:
        print(f'\ncliff demo: it did not work: {problem}; see {args.output}/logs.', file=sys.stderr)
    raise_all(unwritten)
    return 1 if problem else 0


def _say_where_to_look(args: argparse.Namespace, recorded: list[Path], missing: list) -> None:
    replay = args.output / REPLAY
    if replay in recorded:
        print(f'Replay:   {replay}, in 3D: open it in a browser, it needs no server')
        print('Live:     DEMO_VIEW=1 make demo; or cliff view, of any video or camera (docs/view.md)')
    for path in recorded:
        if path != replay:
            print(f'Recorded: {path}')
    for error in missing:
        print(f'Replay:   none: {error}')


def _scene(args: argparse.Namespace):
    from cliff_ros.demo.run import Scene
    from cliff_ros.errors import InputError

    scene = Scene(args.seconds, args.rate, args.width, args.height, args.seed, args.people)
    if not (scene.seconds > 0 and scene.rate > 0 and scene.frames >= 2):
        raise InputError('--seconds and --rate must be positive and make at least two images.')
    if min(scene.width, scene.height) < 64 or scene.people < 1 or scene.seed < 0:
        raise InputError('--width and --height must be at least 64, --people at least 1, --seed at least 0.')
    return scene


def _require_ros() -> None:
    """The demo is about ROS: say at once what is missing, not in a child's log."""
    from importlib import import_module

    from cliff_ros.errors import InputError

    for module in ('rclpy', 'cliff_ros.msg', 'tf2_msgs.msg', 'visualization_msgs.msg'):
        try:
            import_module(module)
        except ImportError as error:
            raise InputError(
                f"The demo needs ROS 2, but '{module}' cannot be imported ({error}): run 'make demo', which "
                "installs it, or source your workspace; 'cliff doctor' tells more."
            ) from error
