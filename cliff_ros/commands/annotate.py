"""``cliff annotate``: CLIFF's annotator - SMPL for images with 2D keypoints, by a network taught all of them."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from cliff_ros.training.annotation.annotator import Estimates, Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cliff annotate``."""
    what = parser.add_argument_group('whom to annotate')
    what.add_argument(
        '--labels', metavar='JSON', type=Path, help="keypoints in COCO's format (COCO, MPII, CrowdPose, any subset)"
    )
    what.add_argument('--images', metavar='DIR', type=Path, help='folder that the file names in the labels start from')
    what.add_argument(
        '--dataset', choices=('synthetic',), help='rendered people with exact truth instead: measures the annotator'
    )
    what.add_argument('--people', metavar='N', type=int, default=96, help='rendered people (default: %(default)s)')
    what.add_argument('--fewest', metavar='N', type=int, default=6, help='keypoints of a person (default: %(default)s)')
    what.add_argument(
        '--focal', default='diagonal', help="of the images [px], or 'diagonal', the guess of CLIFF's authors (default)"
    )
    what.add_argument('--cameras', metavar='YAML', default='', help='intrinsics by part of the image name')
    how = parser.add_argument_group('how')
    how.add_argument('--model', default='embedded', help="'embedded' (default) or a CLIFF checkpoint: the prior")
    how.add_argument('--body', default='embedded', help="'embedded' (default) or the model's SMPL file")
    how.add_argument('--epochs', type=int, default=24, help='over the whole set (default: %(default)s)')
    how.add_argument('--batch', type=int, default=32, help='people in a step (default: %(default)s)')
    how.add_argument('--rate', type=float, default=3e-4, help='learning rate (default: %(default)s)')
    how.add_argument('--prior-weight', type=float, default=1.0, help='of the prior, relative (default: %(default)s)')
    how.add_argument('--seed', type=int, default=0, help='of everything random (default: %(default)s)')
    how.add_argument('--threads', type=int, default=0, help='of the CPU (default: what PyTorch chooses)')
    how.add_argument('--device', choices=('auto', 'cpu', 'cuda'), default='auto')
    how.add_argument('--workers', type=int, default=0, help='processes that cut crops (default: none)')
    where = parser.add_argument_group('what is left')
    where.add_argument(
        '--work',
        metavar='DIR',
        type=Path,
        default=Path('out/annotate'),
        help='a second start goes on (default: %(default)s)',
    )
    where.add_argument('--output', metavar='DIR', type=Path, help='of the annotations (default: --work)')
    where.add_argument('--page', metavar='FILE', type=Path, help='write what people look at (.html or .png)')
    where.add_argument('--report', metavar='FILE', type=Path, help='write all figures as JSON')


def run(args: argparse.Namespace) -> int:
    """Annotate the people of --labels, or measure the annotator on rendered ones, and write what was asked for; 0.

    InputError where the options do not fit each other, MissingExtra without PyTorch: both before any work.
    """
    from cliff_ros.errors import InputError, MissingExtra

    if not find_spec('torch'):
        raise MissingExtra('annotating', 'torch')
    if (args.dataset is None) == (args.labels is None):
        raise InputError('give --labels with --images, or --dataset synthetic')
    if args.labels and not args.images:
        raise InputError('--labels needs --images, the folder of the images')
    if args.epochs < 1 or args.batch < 1 or args.people < 1 or args.rate <= 0 or args.prior_weight < 0:
        raise InputError('--epochs, --batch, --people and --rate must be above zero, --prior-weight not below it')
    from cliff_ros.files import make_folder

    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    if args.page:
        from cliff_ros.render.page import check

        check(args.page)
        if args.dataset:
            raise InputError('--page shows photographs: it belongs to --labels')
    for path in filter(None, (args.report, args.page)):  # said before an hour of work, not after it
        make_folder(path.parent)
    return _synthetic(args) if args.dataset else _photographs(args)


def _settings(args: argparse.Namespace, prior: bool = True) -> Settings:
    from cliff_ros.training.annotation.annotator import Settings

    plain = Settings()
    return Settings(
        epochs=args.epochs,
        batch=args.batch,
        rate=args.rate,
        pose=plain.pose * args.prior_weight,
        betas=plain.betas * args.prior_weight,
        prior=prior,
        seed=args.seed,
        workers=args.workers,
    )


def _synthetic(args: argparse.Namespace) -> int:
    import numpy as np

    from cliff_ros.body import load_body
    from cliff_ros.cliff import load_model
    from cliff_ros.evaluation import metrics
    from cliff_ros.files import make_folder, write_json
    from cliff_ros.training.annotation.annotator import Annotator
    from cliff_ros.training.data import VALIDATION_SHARD, render_shard
    from cliff_ros.training.published.crop_sources import Rendered

    body, spec = load_body(args.body), load_model(args.model).spec
    make_folder(args.work)
    print(f'rendering {args.people} people of seed {args.seed}', flush=True)
    path = render_shard(
        args.work,
        VALIDATION_SHARD + 100 + args.seed,
        args.people,
        size=(spec.height, spec.width),
        negatives=0.0,
        everyday=True,
        whole=True,
        num_backgrounds=40,
    )
    people = Rendered([path], spec, body)
    about = f'synthetic {args.seed}'
    annotator = Annotator(args.model, body, people, args.work, args.device, about)
    with _Bar() as report:
        prior = annotator.prior(report)
        found: dict[str, Estimates] = {'prior': prior}
        for settings in (_settings(args), _settings(args, prior=False)):
            found[settings.name] = annotator.annotate(settings, prior, report)
    true = np.array([people.crop(i, np.random.default_rng(0), None)[1]['joints'] for i in range(len(people))])
    figures: dict[str, dict[str, float]] = {'mpjpe_mm': {}, 'pa_mpjpe_mm': {}, 'reprojection': {}}
    for name, estimates in found.items():
        joints = annotator.points(estimates)[:, :24]
        figures['mpjpe_mm'][name] = float(metrics.mpjpe(joints, true).mean())
        figures['pa_mpjpe_mm'][name] = float(metrics.pa_mpjpe(joints, true).mean())
        figures['reprojection'][name] = float(annotator.reprojection(estimates).mean())
    print(f'\n{"":<28}' + ''.join(f'{name:>16}' for name in found))
    for key, label, scale in (
        ('mpjpe_mm', 'MPJPE [mm]', 1),
        ('pa_mpjpe_mm', 'PA-MPJPE [mm]', 1),
        ('reprojection', 'reprojection [% of box]', 100),
    ):
        print(f'{label:<28}' + ''.join(f'{scale * figures[key][name]:>16.2f}' for name in found))
    if args.report:
        settings = _settings(args)
        write_json(
            args.report,
            {
                'dataset': 'synthetic',
                'seed': args.seed,
                'people': len(people),
                'model': args.model,
                'epochs': settings.epochs,
                'batch': settings.batch,
                'rate': settings.rate,
                **figures,
            },
        )
        print(f'\nNumbers:  {args.report}')
    return 0


def _photographs(args: argparse.Namespace) -> int:
    import numpy as np

    from cliff_ros.body import load_body
    from cliff_ros.datasets.cameras import Cameras
    from cliff_ros.datasets.coco import CocoKeypoints
    from cliff_ros.errors import OutputError, keeping, raise_all
    from cliff_ros.files import make_folder, write_json
    from cliff_ros.training.annotation import files as written
    from cliff_ros.training.annotation.annotator import Annotator
    from cliff_ros.training.published.crop_sources import Bodies, Photographs

    body, output = load_body(args.body), args.output or args.work
    make_folder(output)
    labels = CocoKeypoints(args.labels, args.images, 0, Cameras.read(args.cameras, args.focal), args.fewest)
    annotator_spec = _spec(args.model)
    people = Photographs(labels, annotator_spec, Bodies(body))
    annotator = Annotator(args.model, body, people, args.work, args.device, str(args.labels))
    print(f'{len(people)} people of {args.labels}; prior: {args.model}; focal length: {args.focal}', flush=True)
    with _Bar() as report:
        prior = annotator.prior(report)
        annotated = annotator.annotate(_settings(args), prior, report)
    before, after = annotator.reprojection(prior), annotator.reprojection(annotated)
    columns = written.columns_of(people, annotated, body, after)
    unwritten: list[OutputError] = []
    with keeping(unwritten):
        for path in written.write(output, args.labels.stem, columns):
            print(f'Written:  {path}')
    with keeping(unwritten):
        if written.sheet(output / f'{args.labels.stem}_worst.png', people, columns, body, after):
            print(f'Pictures: {output / f"{args.labels.stem}_worst.png"}')
    if args.page:
        with keeping(unwritten):
            written.page(people, columns, body, before, after).write(args.page)
            print(f'Page:     {args.page}')
    print(f'keypoints off by {100 * np.nanmean(before):.2f} % of the box before, {100 * np.nanmean(after):.2f} % now')
    if args.report:
        with keeping(unwritten):
            write_json(args.report, _report(args, before, after, columns))
            print(f'Numbers:  {args.report}')
    raise_all(unwritten)
    return 0


def _report(
    args: argparse.Namespace, before: np.ndarray, after: np.ndarray, columns: dict[str, np.ndarray]
) -> dict[str, Any]:
    import numpy as np

    worst = np.argsort(-np.nan_to_num(after, nan=-1))[:20]
    return {
        'labels': str(args.labels),
        'people': len(after),
        'model': args.model,
        'focal': args.focal,
        'reprojection': {'prior': float(np.nanmean(before)), 'annotated': float(np.nanmean(after))},
        'worst': [
            {'image': str(columns['image'][i]), 'id': int(columns['id'][i]), 'reprojection': float(after[i])}
            for i in worst
            if np.isfinite(after[i])
        ],
    }


def _spec(model: str) -> Any:
    from cliff_ros.cliff import load_model

    return load_model(model).spec


class _Bar:
    """One progress bar after the other, as a step reports itself."""

    def __enter__(self) -> _Bar:
        self._bar: Any = None
        self._what = ''
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, what: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if what != self._what:
            if self._bar is not None:
                self._bar.close()
            # Without a terminal a bar would fill a log file: one line every 10 s is enough.
            every = 0.1 if sys.stderr.isatty() else 10.0
            self._bar, self._what = tqdm(total=total, initial=done, desc=what, mininterval=every), what
        self._bar.update(done - self._bar.n)
