"""People dressed from the wardrobe: textured clothes, hair, faces; what it lacks is cut from the body's own surface.

Garments are recolored and patterned at random, tops, trousers, shoes and hair are mixed. Shells - swimwear, gloves,
vests, coats, hoods, masks - are parts of the body's or a garment's surface, lifted off it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cliff_ros.body import BodyModel
from cliff_ros.render.material import Material, pyramid
from cliff_ros.synthetic.appearance import LEFT_EYE, NOSE, RIGHT_EYE, Look, Wardrobe
from cliff_ros.synthetic.belongings import HEAD, Thing, cuboid, ellipsoid
from cliff_ros.synthetic.fabrics import HI_VIS, plain, recolored, vest_texture, visible_faces
from cliff_ros.synthetic.garments import Piece, load_garments
from cliff_ros.synthetic.textures import natural_color

PROCEDURAL = 0.3  # of the people wear today's clothes of colors and offsets


class RichWardrobe(Wardrobe):
    """Dresses the embedded body from `garments`, a part of the people as `Wardrobe` does. unseen: from those pieces and
    skins that training is never shown."""

    def __init__(self, body: BodyModel, textures: np.ndarray, unseen: bool = False) -> None:
        super().__init__(body, textures)
        self.garments = load_garments(len(body.v_template)).part(unseen)
        # Woven and printed patterns are mostly lighter and darker; a few stay as colorful as they are.
        gray = textures.mean(3, keepdims=True)
        self.patterns = [
            pyramid(texture if i % 4 == 0 else gray[i] + 0.3 * (texture - gray[i]))
            for i, texture in enumerate(textures)
        ]
        self.faces = np.ascontiguousarray(body.faces, np.int32)
        self.corners = np.ascontiguousarray(self.faces.T)
        order = np.argsort(-body.weights, 1)[:, :4].astype(np.int32)
        self.indices, self.weights = order, np.take_along_axis(body.weights, order, 1).astype(np.float32)
        # Cloth runs around the body; at the back the angle jumps, and a face across the jump would show all of it.
        around, up = self.uv[:, 1][self.faces], self.vertices[:, 1][self.faces]
        turn = 0.15 * 2 * np.pi
        around = around + turn * ((around.max(1, keepdims=True) - around) > 0.5)
        self.cloth_uv = np.ascontiguousarray(np.stack([around, -up], -1), np.float32)
        head = self.head
        v = self.vertices
        self.chin_y = v[NOSE, 1] - 0.085
        self.face = (
            head & (v[:, 2] > v[NOSE, 2] - 0.095) & (v[:, 1] > self.chin_y - 0.02) & (v[:, 1] < v[LEFT_EYE, 1] + 0.05)
        )
        self.jaw = head & (v[:, 1] < v[NOSE, 1] - 0.012) & (v[:, 2] > v[NOSE, 2] - 0.10)
        self.eyeball = self.garments.uv.mean(1)[:, 0] < 0.03
        self.eyeball &= self.garments.uv.mean(1)[:, 1] < 0.05
        self.eye_vertices = np.unique(self.faces[self.eyeball])
        to_eye = np.minimum(np.linalg.norm(v - v[LEFT_EYE], axis=1), np.linalg.norm(v - v[RIGHT_EYE], axis=1))
        self.to_eye = to_eye[self.eye_vertices]
        self.hi_vis = [pyramid(vest_texture(np.array(color, float)), 16) for color in HI_VIS]

    # --- parts -------------------------------------------------------------------------------------------------------

    def _pattern(self, rng, chance: float = 0.45) -> dict:
        if rng.random() > chance:
            return {}
        return dict(pattern=self.patterns[rng.integers(len(self.patterns))], amount=rng.choice([0.1, 0.25, 0.45]))

    def _worn(self, rng, piece: Piece, lift: float = 0.0, color=None, chance: float = 0.35) -> Thing:
        pattern = self._pattern(rng, chance if piece.texture else 0.85)
        repeats = rng.uniform(0.6, 3.0) * piece.size
        if piece.texture is None:
            base = natural_color(rng) if color is None else color
            material = Material(
                piece.uv, size=piece.size, recolor=plain(base), repeats=repeats, two_sided=True, **pattern
            )
        else:
            material = Material(
                piece.uv,
                piece.texture,
                piece.size,
                recolored(rng, piece.light, color),
                repeats=repeats,
                two_sided=True,
                **pattern,
            )
        return piece.thing(material, lift=lift)

    def _shell(
        self, rng, field: np.ndarray, offset: float, color=None, chance: float = 0.5, material: Material | None = None
    ) -> tuple[Thing, np.ndarray]:
        """The body's surface where a field (V,) is positive, lifted by offset [m], and what it hides (V,).

        The rim runs where the field is zero, between the vertices. A mask will do, with a rim half an edge outside.
        """
        if field.dtype == bool:
            field = np.where(field, 1.0, -1.0)
        mask = field > 0
        a, b, c = (mask[corner] for corner in self.corners)
        taken = a | b | c
        faces = self.faces[taken]
        index = np.zeros(len(mask), np.int32)
        index[faces.ravel()] = 1
        kept = np.flatnonzero(index)
        index[kept] = np.arange(len(kept), dtype=np.int32)
        points, shadow, lifted = self.vertices[kept], 1.0, np.full(len(kept), offset, np.float32)
        if offset > 0.008:
            waves = rng.normal(0, 1, (2, 3)) * rng.uniform(8, 30)
            fold = np.sin(points @ waves[0] + rng.uniform(0, 6)) * np.sin(points @ waves[1] + rng.uniform(0, 6))
            lifted = lifted * (1 + 0.3 * fold)
            shadow = 1 + 0.15 * np.sin(points @ waves[1] * 1.3)
        points = points + self.normals[kept] * lifted[:, None]
        self._to_rim(points, index, self.faces[taken & ~(a & b & c)], field)
        vertices = points.astype(np.float32)
        colors = np.ascontiguousarray(np.broadcast_to(np.reshape(shadow, (-1, 1)), vertices.shape), np.float32)
        if material is None:
            color = natural_color(rng) if color is None else color
            material = Material(
                self.cloth_uv[taken],
                recolor=plain(color),
                repeats=rng.uniform(0.5, 3.0),
                two_sided=True,
                **self._pattern(rng, chance),
            )
        share = np.zeros((len(kept), 3), np.float32)
        share[:, 0] = 1
        bound = (np.repeat(kept[:, None], 3, 1).astype(np.int32), share)
        thing = Thing(vertices, index[faces], colors, self.indices[kept], self.weights[kept], material, bound)
        return thing, mask

    def _to_rim(self, points: np.ndarray, index: np.ndarray, mixed: np.ndarray, field: np.ndarray) -> None:
        """Move vertices outside the rim onto it, along the edges to those inside, in place."""
        start, end = np.concatenate([mixed[:, [0, 1]], mixed[:, [1, 2]], mixed[:, [2, 0]]]).T
        start, end = np.concatenate([start, end]), np.concatenate([end, start])
        crossing = (field[start] <= 0) & (field[end] > 0)
        start, end = start[crossing], end[crossing]
        t = (field[start] / (field[start] - field[end]))[:, None]
        count = np.bincount(index[start], minlength=len(points))[:, None]
        at = points[index[start]] * (1 - t) + points[index[end]] * t
        total = np.stack([np.bincount(index[start], at[:, k], len(points)) for k in range(3)], 1)
        np.copyto(points, total / np.maximum(count, 1), where=count > 0, casting='unsafe')

    def _pick(self, rng, kind: str) -> Piece:
        pieces = self.garments.pieces[kind]
        return pieces[rng.integers(len(pieces))]

    # --- people ------------------------------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator) -> Look:
        """Another person's look: garments, hair and textured skin; for a share of PROCEDURAL that of `Wardrobe`."""
        if rng.random() < PROCEDURAL:
            return super().sample(rng)
        hidden, things = np.zeros(len(self.vertices), bool), []

        def wear(thing: Thing, hides: np.ndarray) -> Thing:
            things.append(thing)
            np.logical_or(hidden, hides, out=hidden)
            return thing

        def piece(kind: str, **options) -> Piece:
            one = self._pick(rng, kind)
            wear(self._worn(rng, one, **options), one.hides)
            return one

        def shell(mask, offset, **options) -> Thing:
            return wear(*self._shell(rng, mask, offset, **options))

        v, joints = self.vertices, self.joints
        y, reach = v[:, 1], np.abs(v[:, 0])
        knee_y, hip_y, ankle_y, pelvis_y = joints[4, 1], joints[1, 1], joints[7, 1], joints[0, 1]

        def between(low: float, high: float) -> np.ndarray:
            """Field of the trunk and the legs between two heights."""
            return np.minimum(np.minimum(y - low, high - y), 0.28 - reach)

        def shirt(hem: float, sleeve: float, neck: float, deep: float = 0.3) -> np.ndarray:
            """Field of trunk and arms below a neckline that is lower in front."""
            return np.minimum(
                np.minimum(y - hem, sleeve - reach), np.maximum(joints[12, 1] + neck - y - deep * v[:, 2], reach - 0.12)
            )

        kind, top = rng.random(), None
        if kind < 0.12:
            top = piece('suit')
        elif kind < 0.7:
            piece('legs')
        elif kind < 0.88:  # leggings, shorts
            end = rng.uniform(knee_y - 0.1, hip_y - 0.1) if rng.random() < 0.5 else ankle_y + rng.uniform(-0.02, 0.3)
            shell(between(end, pelvis_y + rng.uniform(0.02, 0.1)), rng.uniform(0.004, 0.022))
        else:  # briefs, swimming trunks
            low = hip_y - rng.uniform(0.02, 0.16)
            slip = 0.5 * (0.12 - reach).clip(0, 0.06) * (y < pelvis_y - 0.02)
            shell(between(low, pelvis_y + rng.uniform(-0.02, 0.08)) + slip, 0.004)
        kind = rng.random()
        sleeve = rng.uniform(joints[16, 0] - 0.03, joints[20, 0] + 0.02)
        if top is not None:
            pass
        elif kind < 0.62:
            top = piece('top', lift=0.003)
        elif kind < 0.80:  # shirts close to the skin, with sleeves or without; dresses
            hem = pelvis_y - (rng.uniform(-0.1, 0.14) if rng.random() < 0.85 else rng.uniform(0.1, 0.35))
            shell(shirt(hem, sleeve, rng.uniform(-0.04, 0.04)), rng.uniform(0.006, 0.02))
        elif kind < 0.87:
            middle, half = joints[9, 1] + rng.uniform(-0.06, 0.02), rng.uniform(0.04, 0.1)
            shell(between(middle - half, middle + half), 0.005)
        kind, hood = rng.random(), False
        if kind < 0.13:  # a coat, open or closed, with a hood or without
            coat = shirt(pelvis_y - rng.uniform(0.05, 0.45), joints[20, 0] + 0.01, rng.uniform(0, 0.05), 0.2)
            if rng.random() < 0.35:
                coat = np.minimum(coat, np.maximum(reach - rng.uniform(0.02, 0.07), -v[:, 2]))
            hood = rng.random() < 0.3
            if hood:
                coat = np.maximum(coat, np.where(self.head & ~self.face, 0.01, -0.01))
            if top is not None and not top.name.startswith('suit'):
                things.pop()
                hidden &= ~(top.hides & (coat <= 0))
            shell(coat, rng.uniform(0.028, 0.05), chance=0.3)
        elif kind < 0.22:
            if top is not None:
                things.append(self._vest(rng, top))
            else:
                field = np.minimum(shirt(pelvis_y - 0.02, 0.2, 0.0), np.maximum(reach - 0.012, -v[:, 2]))
                faces = self.faces[(field > 0)[self.faces].any(1)]
                shell(field, 0.025, material=self._vest_material(rng, faces))
        if rng.random() < 0.86:
            piece('shoes')
        elif rng.random() < 0.5:  # boots and socks
            shell(ankle_y + rng.uniform(0.0, 0.25) - y, 0.008)
        if rng.random() < 0.07:
            shell(reach - joints[20, 0] + 0.01, 0.004, chance=0.1)
        self._dress_head(rng, things, wear, shell, hood)
        faces, uv = visible_faces(self.faces, self.garments.uv, hidden)
        skins = self.garments.skins
        matrix = np.zeros((3, 4), np.float32)
        matrix[:, :3] = np.diag(rng.uniform(0.75, 1.2) * (1 + rng.normal(0, 0.04, 3)))
        return Look(
            self._skin_colors(rng),
            None,
            faces,
            Material(uv, skins[rng.integers(len(skins))], 2.2, matrix),
            tuple(things),
        )

    def _skin_colors(self, rng) -> np.ndarray:
        """(V, 3) what the skin's texture is multiplied with; of the eyes it is the color itself."""
        colors = np.ones_like(self.vertices)
        iris = np.array([rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.45), rng.uniform(0.05, 0.6)]) * rng.uniform(0.3, 1)
        eye = np.full((len(self.eye_vertices), 3), rng.uniform(0.7, 0.95))
        eye[self.to_eye < 0.008] = iris
        eye[self.to_eye < 0.003] = 0.04
        colors[self.eye_vertices] = eye
        if rng.random() < 0.2:  # a beard
            colors[self.jaw] *= rng.uniform(0.35, 0.85)
        return colors.astype(np.float32)

    def _hair_color(self, rng) -> np.ndarray:
        if rng.random() < 0.08:
            return natural_color(rng)
        if rng.random() < 0.15:
            return np.full(3, rng.uniform(120, 220))
        brown = np.array([1, rng.uniform(0.62, 0.88), rng.uniform(0.38, 0.75)])
        return brown * np.exp(rng.uniform(np.log(18), np.log(190)))

    def _dress_head(self, rng, things, wear, shell, hood: bool) -> None:
        hair_color = self._hair_color(rng)
        kind = rng.random()
        if hood:
            pass
        elif kind < 0.09:
            wear(self._helmet(rng), np.zeros(len(self.vertices), bool))
        elif kind < 0.13:
            things.append(self._worn(rng, self._pick(rng, 'hat'), lift=0.004, chance=0.5))
        elif kind < 0.17:  # a cap or a headscarf close to the skull
            line = rng.uniform(0.02, 0.06)
            shell(
                self.head & ~self.face & (self.vertices[:, 1] > self.vertices[LEFT_EYE, 1] + line - 0.02)
                if rng.random() < 0.5
                else self.head & ~self.face,
                rng.uniform(0.008, 0.02),
            )
        elif kind < 0.92:
            things.append(self._worn(rng, self._pick(rng, 'hair'), color=hair_color, chance=0.1))
        if rng.random() < 0.9:
            things.append(self._worn(rng, self._pick(rng, 'brow'), lift=0.0025, color=hair_color * 0.6, chance=0.0))
        if rng.random() < 0.1:  # a mask over mouth and nose
            v = self.vertices
            low = self.face & (v[:, 1] < v[NOSE, 1] + 0.012)
            things.append(self._shell(rng, low, 0.008, chance=0.2)[0])
        if rng.random() < 0.08:
            things.append(self._spectacles(rng))

    def _spectacles(self, rng) -> Thing:
        """Dark glasses: two lenses, a bridge, temples."""
        parts, start, vertices, faces = [], 0, [], []
        width, height = rng.uniform(0.022, 0.03), rng.uniform(0.014, 0.024)
        for sign, eye in ((1, LEFT_EYE), (-1, RIGHT_EYE)):
            at = self.vertices[eye] + [0, 0, 0.016]
            parts.append(ellipsoid(at, [width, height, 0.006], rows=6, columns=10))
            ear = [sign * 0.074, at[1] + 0.004, at[2] - 0.06]
            parts.append(cuboid(ear, [0.004, 0.006, 0.1]))
        bridge = [0, self.vertices[LEFT_EYE, 1] + 0.004, self.vertices[LEFT_EYE, 2] + 0.02]
        parts.append(cuboid(bridge, [0.03, 0.004, 0.004]))
        for points, triangles in parts:
            vertices.append(points)
            faces.append(triangles + start)
            start += len(points)
        return self._rigid(np.concatenate(vertices), np.concatenate(faces), np.full(3, rng.uniform(5, 60)))

    def _rigid(self, vertices: np.ndarray, faces: np.ndarray, color: np.ndarray) -> Thing:
        """Something on the head."""
        colors = np.ascontiguousarray(np.broadcast_to(color, vertices.shape), np.float32)
        joints = np.tile(np.array([HEAD, 0, 0, 0], np.int32), (len(vertices), 1))
        weights = np.tile(np.array([1, 0, 0, 0], np.float32), (len(vertices), 1))
        return Thing(vertices.astype(np.float32), faces.astype(np.int32), colors, joints, weights)

    def _helmet(self, rng) -> Thing:
        depth = (self.head_z[1] - self.head_z[0]) / 2
        center = [0, self.vertices[LEFT_EYE, 1] + rng.uniform(0.025, 0.045), sum(self.head_z) / 2]
        radii = [
            depth * 0.8 + rng.uniform(0.01, 0.025),
            self.head_y[1] - center[1] + rng.uniform(0.015, 0.04),
            depth + rng.uniform(0.01, 0.03),
        ]
        vertices, faces = ellipsoid(center, radii, rows=8, columns=20, upper=0.5)
        if rng.random() < 0.6:  # a brim, a peak
            rim = vertices[:, 1] < vertices[:, 1].min() + 0.01
            away = vertices[rim] - [0, vertices[rim, 1].mean(), center[2]]
            grow = rng.uniform(0.01, 0.05) * (1 if rng.random() < 0.4 else vertices[rim, 2] > center[2])
            away *= np.reshape(grow, (-1, 1)) / np.linalg.norm(away, axis=1, keepdims=True)
            vertices[rim] += away.astype(np.float32)
        color = (
            np.array(
                [[250, 250, 245], [250, 210, 30], [240, 110, 30], [200, 30, 30], [40, 80, 180], [30, 30, 32]][
                    rng.integers(6)
                ]
            )
            if rng.random() < 0.7
            else natural_color(rng)
        )
        colors = np.tile(color, (len(vertices), 1)).astype(np.float32)
        if rng.random() < 0.4:
            colors[np.abs(vertices[:, 0]) < 0.02] = natural_color(rng)
        return self._rigid(vertices, faces, colors)

    def _vest_uv(self, corners: np.ndarray) -> np.ndarray:
        """(F, 3, 2) from the front, of corners (F, 3, 3)."""
        top = self.joints[12, 1] + 0.06
        uv = np.stack([corners[..., 0] / 0.5 + 0.5, (top - corners[..., 1]) / 0.62], -1)
        return np.ascontiguousarray(uv, np.float32)

    def _vest_material(self, rng, faces: np.ndarray) -> Material:
        return Material(
            self._vest_uv(self.vertices[faces]), self.hi_vis[rng.integers(len(self.hi_vis))], 0.5, two_sided=True
        )

    def _vest(self, rng, top: Piece) -> Thing:
        """A high-visibility vest: the trunk of what is worn, once more above it."""
        owner = top.joints[:, 0]
        trunk = np.isin(owner, [0, 3, 6, 9, 12, 13, 14]) & (np.abs(top.vertices[:, 0]) < 0.21)
        taken = trunk[top.faces].all(1)
        faces = top.faces[taken]
        material = Material(
            self._vest_uv(top.vertices[faces]), self.hi_vis[rng.integers(len(self.hi_vis))], 0.5, two_sided=True
        )
        return replace(top.thing(material, lift=0.014), faces=faces)
