"""What a run was trained and evaluated on, in words.

A description is what `engine.environment.describe` makes and results.json
keeps: one for every start of the training, and one for the evaluation.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Description = Mapping[str, Any]


def facts(description: Description) -> dict[str, str]:
  """Everything that can differ between two descriptions, by name."""
  found = {
    "devices": devices(description),
    "processes": str(description["processes"]),
    "precision": description["precision"],
    "commit": str(description["commit"] or "unknown"),
  }
  for phase, mesh in description["meshes"].items():
    axes = " x ".join(f"{axis} {size}" for axis, size in mesh.items())
    found[f"mesh of {phase}"] = axes
  return found | dict(description["versions"])


def devices(description: Description) -> str:
  """The devices in words, such as "8 x NVIDIA H100"."""
  kinds = Counter(description["devices"]).items()
  return ", ".join(f"{count} x {kind}" for kind, count in kinds)


def differences(before: Description, after: Description) -> list[str]:
  """What differs but for the time, each with both values."""
  old, new = facts(before), facts(after)
  return [
    f"{name} {new.get(name, 'unknown')} ({old.get(name, 'unknown')} before)"
    for name in {**old, **new}
    if old.get(name) != new.get(name)
  ]


def rows(
  training: Sequence[Description], evaluation: Description
) -> Iterator[tuple[str, str]]:
  """Yields (what, where and with what) for the page.

  The first start of the training and the evaluation are told whole, of a
  continuation what differs from the start before it.
  """
  for before, start in zip([None, *training], training, strict=False):
    if before is None:
      yield f"training, {start['time']}", _whole(start)
    else:
      differ = "; ".join(differences(before, start))
      yield f"continued, {start['time']}", differ or "with the same"
  if not training:
    yield "training", "not recorded"
  yield f"evaluation, {evaluation['time']}", _whole(evaluation)


def _whole(description: Description) -> str:
  found = facts(description).items()
  return "; ".join(f"{name} {value}" for name, value in found)
