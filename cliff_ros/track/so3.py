"""Exponential and logarithm of rotations, vectorized over any leading axes."""

from __future__ import annotations

import numpy as np

from cliff_ros.arrays import Floats

# Cross-product matrix of a vector, flattened, and back: few numpy calls matter more than few products.
_HAT = np.zeros((3, 9))
_HAT[[0, 0, 1, 1, 2, 2], [7, 5, 2, 6, 3, 1]] = [1, -1, 1, -1, 1, -1]
_TRACE = np.eye(3).ravel()
_EYE = np.eye(3)


def exp(vectors: Floats) -> Floats:
    """Rotation vectors (..., 3) [rad] -> rotation matrices (..., 3, 3) (Rodrigues)."""
    half_turns = np.sqrt(np.einsum('...i,...i->...', vectors, vectors))[..., None, None] / (2 * np.pi)
    cross = (vectors @ _HAT).reshape(*vectors.shape, 3)
    # sin(t) / t and (1 - cos(t)) / t^2, which np.sinc knows down to t = 0
    rotations: Floats = _EYE + np.sinc(2 * half_turns) * cross + (0.5 * np.sinc(half_turns) ** 2) * (cross @ cross)
    return rotations


def log(rotations: Floats) -> Floats:
    """Rotation matrices (..., 3, 3) -> rotation vectors (..., 3) [rad], angle in [0, pi]."""
    flat = rotations.reshape(*rotations.shape[:-2], 9)
    axis_sine = 0.5 * (flat @ _HAT.T)
    sine = np.sqrt(np.einsum('...i,...i->...', axis_sine, axis_sine))
    cosine = 0.5 * (flat @ _TRACE) - 0.5
    angle = np.arctan2(sine, cosine)
    # Between the two ends the antisymmetric part gives the axis; near pi it vanishes.
    vectors: Floats = axis_sine / np.maximum(np.sinc(angle / np.pi), 1e-12)[..., None]
    near_pi = cosine < -0.999
    if near_pi.any():
        vectors[near_pi] = _log_near_pi(rotations[near_pi], axis_sine[near_pi], angle[near_pi])
    return vectors


def _log_near_pi(r: Floats, axis_sine: Floats, angle: Floats) -> Floats:
    """There the symmetric part, about 2 axis axis^T - I, has the axis in its largest column."""
    cosine = np.cos(angle)[:, None, None]
    outer = (0.5 * (r + np.swapaxes(r, 1, 2)) - cosine * _EYE) / (1 - cosine)
    largest = np.argmax(np.einsum('nii->ni', outer), -1)
    axis = outer[np.arange(len(r)), :, largest]
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    flipped = np.einsum('ni,ni->n', axis, axis_sine) < 0
    vectors: Floats = np.where(flipped[:, None], -axis, axis) * angle[:, None]
    return vectors


def orthonormal(rotations: Floats) -> Floats:
    """One Newton step to the nearest rotation: removes the rounding that long products collect."""
    nearer: Floats = rotations @ (1.5 * _EYE - 0.5 * (np.swapaxes(rotations, -1, -2) @ rotations))
    return nearer
