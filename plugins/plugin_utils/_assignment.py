# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""The best assignment of rows to columns, exactly, and the same one every time.

Best is: as few as possible of the worst class, then as few as possible of the next, and so on; never a sum in which many small
differences outweigh a large one. Of equally good assignments the one is taken whose first row has the lowest column, then its second
row, and so on.

Both rules are digits of one whole number, so that a single run of the Hungarian method (Kuhn 1955; the O(rows² columns) form with
potentials) decides both without rounding. Libraries solve the same problem in floating point, where these digits do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence

Classes = Sequence[Sequence[int]]  # a row of whole numbers from 0, the smaller the better, for each row


def nearest(classes: Classes) -> tuple[int, ...]:
    """The column of each row, every column at most once.

    :param classes: at least as many columns as rows.
    """
    return _cheapest(_costs(classes, range(len(classes[0]))))


def shared(classes: Classes) -> tuple[int, ...]:
    """The column of each row, where every column takes an equal share of the rows: shares differ by at most one."""
    rows, columns = len(classes), len(classes[0])
    full, extra = divmod(rows, columns)
    slots = [column for column in range(columns) for _seat in range(full)]
    if extra:
        slots += range(columns)
    costs = _costs([[row[column] for column in slots] for row in classes], slots)
    # A further seat costs more than all distances together, so that no column has one while another's share is not full.
    penalty = 1 + sum(max(row) for row in costs)
    taken = _cheapest([[cost + penalty * (seat >= full * columns) for seat, cost in enumerate(row)] for row in costs])
    return tuple(slots[seat] for seat in taken)


def burden(classes: Classes, assignment: Sequence[int]) -> tuple[int, ...]:
    """How good an assignment is: its classes, the worst first. The smaller one of two is the better."""
    return tuple(sorted((row[column] for row, column in zip(classes, assignment, strict=True)), reverse=True))


def _costs(classes: Classes, names: Sequence[int]) -> list[list[int]]:
    """The classes as digits of base rows + 1, and below them a digit for each row: the name of its column."""
    rows, digits = len(classes), max(names) + 1
    tie = digits**rows
    return [
        [(rows + 1) ** value * tie + name * digits ** (rows - 1 - number) for value, name in zip(row, names, strict=True)]
        for number, row in enumerate(classes)
    ]


def _cheapest(costs: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The columns, each at most once, with the least sum of costs.

    Row after row is let in by the cheapest chain of moves. ``price`` and ``offer`` are the potentials: a row's offer plus a column's
    price is never more than the cost of the two, and equal to it where they are assigned. The column after the last is where the row
    that is let in stands before it has a place.
    """
    outside = len(costs[0])
    offer, price = [0] * len(costs), [0] * (outside + 1)
    holder: list[int | None] = [None] * (outside + 1)
    for new in range(len(costs)):
        holder[outside] = new
        column, seen = outside, {outside}
        slack: dict[int, int] = {}
        came_from: dict[int, int] = {}
        while (row := holder[column]) is not None:
            for other in range(outside):
                if other not in seen:
                    left = costs[row][other] - offer[row] - price[other]
                    if other not in slack or left < slack[other]:
                        slack[other], came_from[other] = left, column
            following = min(slack, key=lambda other: (slack[other], other))
            step = slack.pop(following)
            for other in seen:
                held_by = holder[other]
                if held_by is not None:
                    offer[held_by] += step
                price[other] -= step
            slack = {other: left - step for other, left in slack.items()}
            seen.add(following)
            column = following
        while column != outside:
            holder[column] = holder[came_from[column]]
            column = came_from[column]
    places = {row: column for column, row in enumerate(holder[:outside]) if row is not None}
    return tuple(places[row] for row in range(len(costs)))
