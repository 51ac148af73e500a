"""Ray's machines (docs.ray.io): the same units, as tasks that Ray begins again where a worker or its machine dies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from cliff_ros.errors import InputError, MissingExtra
from cliff_ros.scale.local import MOST_TRIES
from cliff_ros.scale.units import Outcome, Unit, do


def run_ray(
    work: str, units: Sequence[tuple[int, Unit]], address: str, cpus: float = 1.0, gpus: float = 0.0
) -> Iterator[tuple[int, Outcome]]:
    """Work on numbered units as tasks of a cluster; outcomes as they come, each unit's once.

    address: of a cluster, 'auto' for the one this machine belongs to, 'local' to start one here. Files are named by the
    same paths everywhere: data sets and outputs lie on storage that all machines mount. cpus, gpus: of each task.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtra('--ray', 'ray') from None
    try:
        ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"there is no Ray cluster at '{address}' ({error}): start one with 'ray start --head'"
        ) from None
    try:
        task: Any = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=MOST_TRIES - 1, max_calls=64)(do)
        waiting = {task.remote(work, unit): number for number, unit in units}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            for reference in done:
                number = waiting.pop(reference)
                try:
                    outcome = ray.get(reference)
                except ray.exceptions.RayError as error:
                    outcome = Outcome(None, f'its worker died {MOST_TRIES} times ({type(error).__name__})')
                    outcome = replace(outcome, tries=MOST_TRIES)
                yield number, outcome
    finally:
        ray.shutdown()
