"""``cliff evaluate --dataset 3dpw --root DIR``: a network on a published benchmark."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cliff_ros.evaluation.benchmarks.run import Result, Runner
    from cliff_ros.render.page import Page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cliff evaluate`` that only published benchmarks have."""
    from cliff_ros.evaluation.benchmarks.registry import BOXES, FOCALS
    from cliff_ros.scale import options as scale

    group = parser.add_argument_group('published benchmarks (docs/evaluation.md); --body may be a folder of bodies')
    group.add_argument(
        '--root', metavar='DIR', type=Path, help='where the data set was unpacked, as its authors lay it out'
    )
    group.add_argument(
        '--boxes', choices=BOXES, help="where people are: from the labels, or the detector's (default: as the paper)"
    )
    group.add_argument(
        '--focal',
        metavar='RULE',
        help=f'that the network is told: {", ".join(FOCALS)}, or pixels (default: as the paper)',
    )
    group.add_argument('--split', default='', help='of the data set, where it has several (default: its test set)')
    group.add_argument('--limit', metavar='N', type=int, default=0, help='images, evenly chosen (default: all)')
    group.add_argument('--cameras', metavar='YAML', default='', help='intrinsics by part of the image name')
    scale.add_arguments(parser)
    group.add_argument(
        '--skip-damaged', action='store_true', help='go on without files and images that cannot be read, and name them'
    )


def run(args: argparse.Namespace) -> int:
    """Measure a network by a benchmark's own protocols; 1 where it was interrupted, else 0.

    The figures are printed beside the published ones; --plan only estimates the cost.
    """
    from cliff_ros.errors import InputError, OutputError, keeping, raise_all
    from cliff_ros.evaluation.benchmarks.open import open_runner
    from cliff_ros.evaluation.benchmarks.registry import BENCHMARKS
    from cliff_ros.evaluation.benchmarks.report import render, report
    from cliff_ros.files import make_folder, write_json

    if args.root is None:
        raise InputError(f"'{args.dataset}' has to be unpacked somewhere: give that folder as --root")
    for path in filter(None, (args.report, args.page)):  # said before an hour of work, not after it
        make_folder(path.parent)
    benchmark, damaged = BENCHMARKS[args.dataset], []

    def note(error: InputError) -> None:
        damaged.append(str(error))
        print(f'cliff evaluate: {error}', file=sys.stderr)

    runner = open_runner(args, note)
    labels, boxes, focal, pipeline = runner.labels, runner.boxes, runner.focal, runner.pipeline
    engine = pipeline.engine
    print(
        f'{benchmark.text}: {len(labels)} people in {len(runner.images)} images; boxes: {boxes}; '
        f'focal length: {focal}; model {args.model}; engine {engine.name}'
    )
    if args.plan or args.workers > 1 or args.ray:
        from cliff_ros.evaluation.benchmarks.parts import plan_text, together

        if args.plan:
            print(plan_text(args, len(runner.images)))
            return 0
        result, done, complete = *together(args, len(runner.images), note), True
    else:
        result, done, complete = _go(runner, args.skip_damaged, note)
    dialect = engine.metadata.dialect
    found: dict[str, Any] = {
        'dataset': args.dataset,
        'root': str(args.root),
        'complete': complete,
        'images': done,
        'boxes': boxes,
        'focal': focal,
        'model': args.model,
        'model_name': engine.metadata.model,
        'dialect': dialect,
        'model_sha256': engine.metadata.sha256,
        'body': pipeline.body.name,
        'engine': engine.name,
        'damaged': damaged,
        **report(benchmark, result, engine.metadata.model, dialect),
    }
    print(render(found))
    unwritten: list[OutputError] = []
    if args.report:
        with keeping(unwritten):
            write_json(args.report, found)
            print(f'\nNumbers:  {args.report}')
    if args.page:
        with keeping(unwritten):
            _page(found, runner, result).write(args.page)
            print(f'Page:     {args.page}')
    if damaged:
        print(f'cliff evaluate: {len(damaged)} files could not be read, the first: {damaged[0]}', file=sys.stderr)
    if not complete:
        print(f'cliff evaluate: interrupted after {done} of {len(runner.images)} images', file=sys.stderr)
    raise_all(unwritten)
    return 0 if complete else 1


def _page(found: dict[str, Any], runner: Runner, result: Result) -> Page:
    import numpy as np

    from cliff_ros.evaluation.benchmarks.report import NAMES
    from cliff_ros.evaluation.page import Worst, figures_table, page_of
    from cliff_ros.render.page import Table

    tables = [figures_table(f'{name}: {row["text"]}', row, NAMES) for name, row in found['protocols'].items()]
    keys = [key for key in NAMES if any(key in row for row in found['published'])]
    if keys:
        rows = [
            [row['name'], *(f'{row[key]:.1f}' if key in row else '-' for key in keys)] for row in found['published']
        ]
        tables.append(Table('Published', ['', *(NAMES[key] for key in keys)], rows))
    errors = next((c['joint_errors'] for c in result.columns.values() if 'joint_errors' in c), np.zeros((0, 24)))
    columns = result.columns.get(runner.benchmark.protocols[0], {})
    key = 'mpjpe_mm' if 'mpjpe_mm' in columns else 'error_box_percent'
    worst, unit = Worst(), 'mm' if key == 'mpjpe_mm' else '% of the box'
    for row in np.argsort(-np.nan_to_num(columns.get(key, np.zeros(0)), nan=-1)):
        number, error = int(result.people['number'][row]), float(columns[key][row])
        if not worst.wants(error):
            break
        worst.add(error, number, runner.picture(number), f'{result.people["person"][row]}: {error:.1f} {unit}')
    text = f'{found["people"]} people, boxes: {found["boxes"]}, focal length: {found["focal"]}, model {found["model"]}'
    pictures = worst.section('Worst people: what was found as meshes, the truth in white')
    return page_of(f'cliff evaluate: {runner.benchmark.text}', text, tables, found, errors, pictures, key)


def _go(runner: Runner, skip: bool, note: Any) -> tuple[Any, int, bool]:
    """Results of all images, how many, and whether it was not interrupted: what was done until then still counts."""
    from tqdm import tqdm

    from cliff_ros.evaluation.benchmarks.run import Result, failures

    results = []
    complete = True
    try:
        # Without a terminal a bar would fill a log file with carriage returns: one line every 10 s is enough.
        every = 0.1 if sys.stderr.isatty() else 10.0
        with tqdm(total=len(runner.images), unit='image', mininterval=every) as bar:
            for result, error in failures(runner, skip):
                if error is not None:
                    note(error)
                else:
                    results.append(result)
                bar.update()
    except KeyboardInterrupt:
        complete = False
    return Result.merge([result for result in results if result is not None]), len(results), complete
