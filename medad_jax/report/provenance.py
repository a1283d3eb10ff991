"""Descriptions of a run's training and evaluation, in words.

A description is what `engine.environment.describe` makes and results.json
keeps: one for every start of the training, and one for the evaluation.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Description = Mapping[str, Any]


def differences(before: Description, after: Description) -> list[str]:
  """Differences of two descriptions except for the time, with both values."""
  old, new = _facts(before), _facts(after)
  return [
    f"{name} {new.get(name, 'unknown')} ({old.get(name, 'unknown')} before)"
    for name in {**old, **new}
    if old.get(name) != new.get(name)
  ]


def rows(
  training: Sequence[Description], evaluation: Description
) -> Iterator[tuple[str, str]]:
  """Yields names and texts for the page.

  The first start of the training and the evaluation are described in full, a
  continuation by its differences from the start before it.
  """
  for number, start in enumerate(training, 1):
    # Files of another program's training are named, which says nothing of it.
    for member, file in start.get("imported", {}).items():
      yield f"imported, {member}", file
    if number == 1:
      kind = "imported" if "imported" in start else "trained"
      yield f"{kind} on", _whole(start)
      continue
    differ = differences(training[number - 2], start) or ["the same"]
    yield f"trained on (start {number})", "; ".join([*differ, start["time"]])
  if not training:
    yield "trained on", "not recorded"
  yield "evaluated on", _whole(evaluation)


def _whole(description: Description) -> str:
  devices, precision, *others = _facts(description).items()
  named = [f"{name} {value}" for name, value in others]
  return "; ".join([devices[1], precision[1], *named, description["time"]])


def _facts(description: Description) -> dict[str, str]:
  """Everything that can differ between two descriptions, by name."""
  kinds = Counter[str](description["devices"]).items()
  found = {
    "devices": ", ".join(f"{count} × {kind}" for kind, count in kinds),
    "precision": description["precision"],
    **description["versions"],
    "commit": str(description["commit"] or "unknown"),
    "processes": str(description["processes"]),
  }
  for phase, mesh in description["meshes"].items():
    axes = " × ".join(f"{axis} {size}" for axis, size in mesh.items())
    found[f"mesh of {phase}"] = axes
  return found
