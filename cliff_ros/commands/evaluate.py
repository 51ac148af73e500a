"""``cliff evaluate``: how accurate a network and a detector are on a data set with ground truth."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cliff_ros.commands import evaluate_benchmark
from cliff_ros.evaluation.benchmarks.registry import BENCHMARKS
from cliff_ros.evaluation.datasets import DATASETS

if TYPE_CHECKING:
    from cliff_ros.evaluation.page import Worst
    from cliff_ros.evaluation.run import Evaluation
    from cliff_ros.render.page import Page

TRUTH = 'truth'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cliff evaluate``."""
    from cliff_ros.engine import ENGINES

    parser.add_argument(
        '--dataset',
        choices=(*DATASETS, *BENCHMARKS),
        default='synthetic',
        help='; '.join(
            [f'{name} (default): {what}' for name, what in DATASETS.items()]
            + [f'{benchmark.name}: {benchmark.text}' for benchmark in BENCHMARKS.values()]
        ),
    )
    parser.add_argument('--seed', type=int, default=0, help='of the scenes (default: 0)')
    parser.add_argument('--frames', metavar='N', type=int, default=400, help='images (default: 400)')
    parser.add_argument(
        '--size',
        nargs='+',
        type=_size,
        metavar='WxH',
        default=[(640, 480), (1280, 720)],
        help='of the images, in turns (default: 640x480 1280x720)',
    )
    parser.add_argument(
        '--visible',
        metavar='SHARE',
        type=float,
        help='people of whom the image shows the upper part only, such as 0.75, 0.5 or 0.4 of their '
        'height, as a robot sees who stands near (default: mostly whole people)',
    )
    parser.add_argument(
        '--look',
        choices=('plain', 'rich', 'unseen'),
        default='plain',
        help='of people and places: plain (default), the same pictures in every version; rich, as '
        'training draws them; unseen, garments, skins and places that training is never shown',
    )
    parser.add_argument('--model', default='embedded', help="'embedded' (default), or a file that the engine runs")
    parser.add_argument('--body', default='embedded', help="'embedded' (default) or the model's SMPL file")
    parser.add_argument(
        '--detector',
        default='embedded',
        help=f"'embedded' (default), a detector .onnx, or '{TRUTH}' for the true boxes",
    )
    parser.add_argument('--engine', default='auto', choices=ENGINES)
    parser.add_argument('--sheet', metavar='FILE', type=Path, help='draw 12 of the images, truth in white (.png)')
    parser.add_argument('--report', metavar='FILE', type=Path, help='write all measures as JSON')
    parser.add_argument('--page', metavar='FILE', type=Path, help='write what people look at (.html or .png)')
    evaluate_benchmark.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure a network and a detector on a data set, print the figures and write the files asked for; 0.

    Interrupted, it reports on the images done so far and then raises KeyboardInterrupt for the exit status.
    """
    from cliff_ros.errors import InputError, OutputError, keeping, raise_all
    from cliff_ros.evaluation.datasets import open_dataset
    from cliff_ros.files import make_folder, write_json

    if args.page:
        from cliff_ros.render.page import check

        check(args.page)
    if args.dataset in BENCHMARKS:
        return evaluate_benchmark.run(args)
    if args.root:
        raise InputError(f'--root belongs to a published benchmark: name one as --dataset ({", ".join(BENCHMARKS)})')
    if args.sheet and args.sheet.suffix.lower() != '.png':
        raise InputError(f"--sheet is '{args.sheet}': name it *.png")
    dataset = open_dataset(args.dataset, args.seed, args.frames, args.size, args.look, args.visible)

    from cliff_ros.evaluation.page import Worst
    from cliff_ros.evaluation.run import Evaluation
    from cliff_ros.evaluation.sheet import Sheet
    from cliff_ros.evaluation.tables import render
    from cliff_ros.pipeline import Pipeline

    true_boxes = args.detector == TRUTH
    pipeline = Pipeline(
        model=args.model,
        body=args.body,
        engine=args.engine,
        detector='none' if true_boxes else args.detector,
        smoothing=False,
        smooth_boxes=False,
    )
    evaluation, sheet = Evaluation(pipeline, true_boxes), None
    if args.sheet:
        sheet = Sheet(pipeline.body.faces, len(dataset))
    worst = Worst() if args.page else None
    for path in filter(None, (args.sheet, args.report, args.page)):  # said before an hour of work, not after it
        make_folder(path.parent)
    engine = pipeline.engine
    print(
        f'{len(dataset)} images of {args.dataset}, model {args.model}, boxes from {args.detector}, engine {engine.name}'
    )
    complete = _go(dataset, evaluation, sheet, worst)
    report = {
        'dataset': args.dataset,
        'look': args.look,
        'seed': args.seed,
        'sizes': [f'{width}x{height}' for width, height in args.size],
        'visible': args.visible,
        'complete': complete,
        'model': args.model,
        'model_name': engine.metadata.model,
        'model_sha256': engine.metadata.sha256,
        'body': pipeline.body.name,
        'detector': args.detector,
        'engine': engine.name,
        'cpu_cores': len(os.sched_getaffinity(0)),
        **evaluation.report(),
    }
    print(f'\n{render(report)}\n')
    unwritten: list[OutputError] = []
    if args.report:
        with keeping(unwritten):
            write_json(args.report, report)
            print(f'Numbers:  {args.report}')
    if sheet:
        with keeping(unwritten):
            if sheet.save(args.sheet, f'cliff evaluate: {args.dataset}, seed {args.seed}; white: the truth'):
                print(f'Pictures: {args.sheet}')
    if worst:
        with keeping(unwritten):
            _page(report, evaluation, worst).write(args.page)
            print(f'Page:     {args.page}')
    if not complete:
        print(f'cliff evaluate: interrupted after {report["frames"]} of {len(dataset)} images', file=sys.stderr)
    raise_all(unwritten)
    if not complete:
        raise KeyboardInterrupt  # for the exit status
    return 0


def _page(report: dict[str, Any], evaluation: Evaluation, worst: Worst) -> Page:
    import numpy as np

    from cliff_ros.evaluation.page import figures_table, page_of
    from cliff_ros.evaluation.tables import ROWS

    names = {key: label.strip() for label, key, _, _ in ROWS}
    text = f'{report["frames"]} images, model {report["model"]}, boxes from {report["detector"]}, {report["engine"]}'
    return page_of(
        f'cliff evaluate: {report["dataset"]}, seed {report["seed"]}',
        text,
        [figures_table('Figures', report, names)],
        report,
        np.array(evaluation.scores.joint_errors).reshape(-1, 24),
        worst.section('Worst images: what was found as meshes, the truth in white'),
        'mpjpe_mm',
    )


def _go(dataset, evaluation, sheet, worst) -> bool:
    """All images through the pipeline; False if it was interrupted: what was done until then still counts."""
    from tqdm import tqdm

    from cliff_ros.evaluation.sheet import draw_sample

    try:
        # Without a terminal a bar would fill a log file with carriage returns: one line every 10 s is enough.
        with tqdm(total=len(dataset), unit='image', mininterval=0.1 if sys.stderr.isatty() else 10.0) as bar:
            for index, sample in enumerate(dataset):
                people = evaluation.add(sample)
                if sheet:
                    sheet.add(index, sample, people)
                if worst and worst.wants(error := evaluation.last_error):
                    picture = draw_sample(sample, people, evaluation.pipeline.body.faces)
                    worst.add(error, index, picture, f'image {index}: {error:.0f} mm')
                bar.update()
    except KeyboardInterrupt:
        return False
    return True


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(side) for side in text.lower().split('x'))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no size: write it as 640x480") from None
    return width, height
