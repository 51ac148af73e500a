"""What a real camera does to a clean picture: blur, resolution, noise, exposure, JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from cliff_ros.synthetic.textures import natural_color


def camera_effects(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """(H, W, 3) float32 0..255 -> uint8, with a random set of effects; strength 0 gives a clean picture."""
    height, width = image.shape[:2]
    kind = rng.random()
    if kind < 0.3 * strength:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.9))
    elif kind < 0.38 * strength:  # motion
        length, angle = rng.integers(2, 7), rng.uniform(0, np.pi)
        kernel = np.zeros((7, 7), np.float32)
        offset = np.array([np.cos(angle), np.sin(angle)]) * length / 2
        cv2.line(
            kernel,
            tuple(np.round(3 - offset).astype(int).tolist()),
            tuple(np.round(3 + offset).astype(int).tolist()),
            1.0,
        )
        image = cv2.filter2D(image, -1, kernel / kernel.sum())
    if rng.random() < 0.25 * strength:  # the halo that cameras sharpen edges with
        image = image + rng.uniform(0.3, 1.5) * (image - cv2.GaussianBlur(image, (0, 0), rng.uniform(0.7, 1.6)))
    if rng.random() < 0.3 * strength:  # light that falls off to one side, glare
        fall = cv2.resize(rng.uniform(0.55, 1.2, (2, 2)).astype(np.float32), (width, height))[..., None]
        image = image * fall + np.float32(rng.uniform(0, 40) if rng.random() < 0.3 else 0)
    if rng.random() < 0.06 * strength:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.4 * strength:
        image = image + rng.standard_normal((height, width, 1 if rng.random() < 0.5 else 3), np.float32) * np.float32(
            rng.uniform(0, 9)
        )
    curve = 255 * (np.arange(256) / 255) ** np.exp(rng.normal(0, 0.17 * strength))
    contrast = 1 + (rng.uniform(0.7, 1.25) - 1) * strength
    curve = np.clip((curve - 128) * contrast + 128 + rng.uniform(-18, 18) * strength, 0, 255).astype(np.uint8)
    image = cv2.LUT(np.clip(image, 0, 255).astype(np.uint8), curve)
    if rng.random() < 0.3 * strength:
        _, data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(25, 85))])
        # encoded as if BGR: chroma handling is symmetric enough
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None
        return decoded
    return image


def occlude(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, textures: np.ndarray, color) -> None:
    """Put a flat textured thing in front, in place; what it hides becomes label 0."""
    height, width = labels.shape
    w = int(width * np.exp(rng.uniform(np.log(0.05), np.log(0.45))))
    h = int(height * np.exp(rng.uniform(np.log(0.05), np.log(0.35))))
    w, h = max(2, min(w, 256)), max(2, min(h, 256))
    x, y = int(rng.uniform(0, width - w)), int(rng.uniform(0, height - h))
    mask = np.zeros((h, w), np.uint8)
    kind = rng.integers(3)
    if kind == 0:
        mask[:] = 1
    elif kind == 1:
        cv2.ellipse(mask, (w // 2, h // 2), (w // 2, h // 2), 0, 0, 360, 1, -1)
    else:
        cv2.fillPoly(mask, [(rng.random((6, 2)) * [w, h]).astype(np.int32)], 1)
    hit = mask > 0
    image[y : y + h, x : x + w][hit] = (color * (1 + 0.3 * textures[rng.integers(len(textures))][:h, :w]))[hit]
    labels[y : y + h, x : x + w][hit] = 0


def cover_with(
    image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, corners: np.ndarray, textures: np.ndarray
) -> None:
    """Put a table, a counter, a sofa's back or the edge of a wall in front, in place; what it hides becomes label 0.

    corners: (4, 2) [px]; the first edge, 0 to 1, is the one that is seen.
    """
    height, width = labels.shape
    far = 4 * max(height, width)
    corners = corners.clip(-far, far)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 1)
    hit = mask > 0
    if not hit.any():
        return
    color, texture = natural_color(rng), textures[rng.integers(len(textures))]
    zoom = np.exp(rng.uniform(-1, 1.2)) * 128 / height
    pattern = cv2.warpAffine(
        texture,
        np.array([[zoom, 0, rng.uniform(0, 99)], [0, zoom, rng.uniform(0, 99)]]),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP,
    )
    light = cv2.resize(rng.uniform(0.6, 1.2, (2, 2)).astype(np.float32), (width, height))[..., None]
    paint = np.clip(color * (1 + rng.choice([0.03, 0.1, 0.3]) * pattern) * light, 0, 255)
    along, across = corners[1] - corners[0], corners[3] - corners[0]
    inwards = across - along * (across @ along) / max(along @ along, 1e-9)
    inwards /= max(np.linalg.norm(inwards), 1e-9)
    y, x = np.mgrid[:height, :width]
    depth = (x - corners[0, 0]) * inwards[0] + (y - corners[0, 1]) * inwards[1]  # [px] behind the edge
    if rng.random() < 0.7:  # a board's edge, lighter or darker
        paint[depth < height * rng.uniform(0.01, 0.12)] *= rng.uniform(0.5, 1.5)
    if rng.random() < 0.4:  # doors, boards, cushions
        step = height * rng.uniform(0.1, 0.5)
        joint = np.mod((x - corners[0, 0]) * -inwards[1] + (y - corners[0, 1]) * inwards[0], step)
        paint[joint < max(1.0, 0.03 * step)] *= 0.6
    image[hit] = np.clip(paint, 0, 255)[hit]
    labels[hit] = 0
