"""Bake environment maps (CC0, HDRI Haven) into backgrounds and light: `cliff_ros/data/environments.npz`.

    python tools/bake_environments.py FOLDER_OF_HDR_FILES cliff_ros/data/environments.npz

Of each map: a tone-mapped panorama, WebP of 1024x512; sky (4, 3): irradiance as constant and slope along x right, y up,
z towards the viewer (spherical harmonics to order 1) of everything but the brightest light; key (2, 3): direction and
color of that. Irradiance is relative to the map's own mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

MIDDLE_GRAY = 0.2
# (left, top, right, bottom) of 1024x512: distant passers-by, who would be people without a label
PEOPLE = {'venice_sunset_1k': [(216, 251, 302, 300), (766, 254, 800, 299), (824, 252, 908, 279)]}


def directions(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) unit vectors of a panorama's pixels and (H, W) their solid angles."""
    azimuth = (np.arange(width) + 0.5) / width * 2 * np.pi
    polar = (np.arange(height) + 0.5) / height * np.pi
    p, a = np.meshgrid(polar, azimuth, indexing='ij')
    toward = np.stack([np.sin(p) * np.sin(a), np.cos(p), np.sin(p) * np.cos(a)], -1)
    return toward, np.sin(p) * (np.pi / height) * (2 * np.pi / width)


def light_of(radiance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sky (4, 3) and key (2, 3) of a linear RGB panorama."""
    toward, angle = directions(*radiance.shape[:2])
    radiance = radiance.astype(np.float64)
    brightness = radiance @ [0.3, 0.59, 0.11]
    peak = toward[
        np.unravel_index((cv2.GaussianBlur(brightness, (0, 0), 6) * (toward[..., 1] > -0.2)).argmax(), brightness.shape)
    ]
    lamp = (toward @ peak > 0.94) & (brightness > np.quantile(brightness, 0.97))
    weight = radiance * angle[..., None]
    key = weight[lamp].sum(0) if lamp.any() else np.zeros(3)
    rest = np.where(lamp[..., None], 0, weight)
    constant = rest.sum((0, 1)) / 4  # irradiance over pi of a sphere's radiance
    slope = np.einsum('hwc,hwk->kc', rest, toward) / 2
    scale = 1 / (constant @ [0.3, 0.59, 0.11] + 0.25 * key @ [0.3, 0.59, 0.11])
    sky = np.concatenate([constant[None], slope]) * scale
    return sky.astype(np.float32), np.stack([peak, key * scale]).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('output', type=Path)
    args = parser.parse_args()
    arrays = {}
    for path in sorted(args.folder.glob('*.hdr')):
        radiance = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]
        brightness = radiance @ np.float32([0.3, 0.59, 0.11])
        exposed = radiance * (MIDDLE_GRAY / np.exp(np.log(brightness + 1e-4).mean()))
        exposed = exposed * (1 + exposed / 16) / (1 + exposed)
        picture = (np.clip(exposed, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
        mask = np.zeros(picture.shape[:2], np.uint8)
        for left, top, right, bottom in PEOPLE.get(path.stem, []):
            mask[top:bottom, left:right] = 255
        if mask.any():
            picture = cv2.inpaint(np.ascontiguousarray(picture), mask, 5, cv2.INPAINT_TELEA)
        name = path.stem.removesuffix('_1k')
        encoded = cv2.imencode('.webp', picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 82])[1]
        arrays[f'{name}.panorama'] = encoded.ravel()
        arrays[f'{name}.sky'], arrays[f'{name}.key'] = light_of(radiance)
        print(name, 'sky', arrays[f'{name}.sky'].mean(1).round(2), 'key', arrays[f'{name}.key'].round(2).tolist())
    arrays['licence'] = np.array('CC0-1.0')
    arrays['provenance'] = np.array('HDRI Haven (pmndrs/drei-assets); baked by tools/bake_environments.py')
    np.savez(args.output, **arrays)
    print(args.output, args.output.stat().st_size, 'bytes')


if __name__ == '__main__':
    main()
