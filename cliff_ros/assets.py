"""The files that ship inside the package: bodies, networks, and what the synthetic world is made of."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).resolve().parent / 'data'
BODY = DATA / 'body_embedded.npz'
NETWORK = DATA / 'cliff_embedded.onnx'
DETECTOR = DATA / 'detector_embedded.onnx'
ENVIRONMENTS = DATA / 'environments.npz'
POSES = DATA / 'poses.npz'
WARDROBE = DATA / 'wardrobe.npz'
