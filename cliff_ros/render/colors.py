"""One color for each person, the same wherever that person is drawn."""

from __future__ import annotations

# RGB, 0..255. Okabe and Ito's colors, lightened: told apart with every kind of color vision.
_PALETTE = (
    (98, 186, 240),
    (244, 172, 66),
    (64, 190, 150),
    (224, 146, 190),
    (240, 226, 104),
    (236, 122, 72),
    (160, 148, 236),
    (178, 206, 96),
)


def color_of(person_id: int) -> tuple[int, int, int]:
    """The RGB color (0..255) of an id; neighboring ids differ clearly."""
    return _PALETTE[person_id % len(_PALETTE)]
