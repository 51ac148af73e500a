"""Pairs with the largest sum of gains (the Hungarian method's problem).

scipy has it too, but importing scipy.optimize costs a third of a second of the node's start.
"""

from __future__ import annotations

import numpy as np

from cliff_ros.arrays import Floats


def assign(gain: Floats) -> list[tuple[int, int]]:
    """Which row goes with which column: at most one each, the sum of gains as large as can be.

    gain: (N, M), not negative. Pairs that gain nothing are left out; the others come in the order of the rows.
    """
    best = gain.argmax(1)
    useful = gain.max(1) > 0
    chosen = best[useful]
    if len(np.unique(chosen)) == len(chosen):  # mostly: everybody's best is nobody else's
        return list(zip(np.flatnonzero(useful).tolist(), chosen.tolist(), strict=True))
    if len(gain) > gain.shape[1]:
        return sorted((row, column) for column, row in _augment(gain.T) if gain[row, column] > 0)
    return [(row, column) for row, column in _augment(gain) if gain[row, column] > 0]


def _augment(gain: Floats) -> list[tuple[int, int]]:
    """All rows (N <= M) with their columns: rows enter one by one along the shortest augmenting path, with dual
    prices that keep all reduced costs from being negative (Jonker and Volgenant 1987)."""
    rows, columns = gain.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1)
    for start in range(rows):
        distance, previous = np.full(columns, np.inf), np.full(columns, -1)
        reached = np.zeros(columns, bool)
        row, column, shortest = start, -1, 0.0
        while row >= 0:
            through = shortest - gain[row] - row_price[row] - column_price
            nearer = ~reached & (through < distance)
            distance[nearer], previous[nearer] = through[nearer], column
            column = int(np.where(reached, np.inf, distance).argmin())
            shortest = distance[column]
            reached[column] = True
            row = int(row_of[column])
        change = shortest - distance[reached]
        row_price[start] += shortest
        inner = reached & (row_of >= 0)
        row_price[row_of[inner]] += shortest - distance[inner]
        column_price[reached] -= change
        while column >= 0:  # turn the path round: each of its columns takes the row before it
            before = int(previous[column])
            row_of[column] = start if before < 0 else row_of[before]
            column = before
    return sorted((int(row), column) for column, row in enumerate(row_of) if row >= 0)
