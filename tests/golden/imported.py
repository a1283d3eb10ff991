"""The reference nets' `state_dict`s by way of files, as users import them."""

from collections.abc import Mapping, Sequence
import pathlib
import tempfile
from typing import Any

from flax import traverse_util

from medad_jax.engine import importing
from medad_jax.engine.settings import Data, Settings
from medad_jax.methods import ddad
from medad_jax.weights import tensor_file
from tests.golden.filler import State

Tree = dict[str, Any]


def sources(
  method: Any,
  shape: tuple[int, int, int],
  given: Mapping[str, Sequence[State]],
  folder: pathlib.Path,
  settings: Settings | None = None,
) -> list[importing.Source]:
  """The files of `state_dict`s by flag, written and read."""
  paths: dict[str, list[pathlib.Path]] = {}
  for flag, states in given.items():
    for i, state in enumerate(states):
      path = folder / f"{flag}_{i}.pth"
      tensor_file.write(path, state)
      paths.setdefault(flag, []).append(path)
  name = type(method).__module__.rpartition(".")[2]
  settings = settings or settings_of(shape)
  return importing.read(settings, method, name, paths)


def settings_of(shape: tuple[int, int, int]) -> Settings:
  """The settings of images of a shape."""
  return Settings(data=Data(image_size=shape[0], channels=shape[2]))


def trees(
  method: Any, shape: tuple[int, int, int], state: State
) -> tuple[Tree, Tree]:
  """Parameters and statistics of one member by part, out of `model.pt`."""
  with tempfile.TemporaryDirectory() as folder:
    found = sources(
      method, shape, {"checkpoint": [state]}, pathlib.Path(folder)
    )
    return read(found[0], "train")


def ensemble_trees(
  backbone: Any, shape: tuple[int, int, int], state: State, refine: State
) -> dict[str, tuple[Tree, Tree]]:
  """Parameters and statistics by part of DDAD's stages, out of its files.

  All members have the same `state_dict`; one of them is returned.
  """
  method = ddad.Method(backbone=backbone, ensemble=ddad.Ensemble(2))
  given = {"udm": [state] * 2, "ndm": [state] * 2, "refine": [refine]}
  with tempfile.TemporaryDirectory() as folder:
    found = sources(method, shape, given, pathlib.Path(folder))
    # The last member, whose place is not its own number.
    return {
      stage: read(source, stage)
      for stage, source in (("ensemble", found[3]), ("refine_dual", found[4]))
    }


def read(source: importing.Source, stage: str) -> tuple[Tree, Tree]:
  """Parameters and statistics by part of a file's member in a stage."""
  arrays = source.found.read(source.slot.file, source.variables)
  found = traverse_util.unflatten_dict(arrays, sep="/")
  return tuple(
    found.get(name, {}).get(stage, {}) for name in ("params", "batch_stats")
  )
