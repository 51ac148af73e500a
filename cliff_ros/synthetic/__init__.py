"""Scenes of the embedded body with exact truth: seeded, deterministic, rendered on the CPU."""

from cliff_ros.synthetic.sequence import Sequence

__all__ = ['Sequence']
