"""Feasibility of a run, checked before anything is allocated or read.

A field's own range stands in `ranges.py`; here is what only several fields say
together. Networks are traced for shapes alone, so that nets and views which the
images do not suit raise their sentence at once.
"""

from collections.abc import Mapping, Sequence
import math
from typing import Any

import jax
import numpy as np

from medad_jax.data import index, spec
from medad_jax.engine import config as configuration
from medad_jax.engine import ending, members, train
from medad_jax.engine.settings import Settings
from medad_jax.types import Fit, Phase, Pretrained, Stage, UserError

_LAST_STEP = 2**31 - 1  # states count their steps in an int32
_GB = 1e9


def check(
  config: Mapping[str, Any], settings: Settings, stages: Sequence[Stage]
) -> None:
  """Checks sizes against the images and the machine's memory.

  What fits here may still be too large: activations are not counted, so that
  nothing is refused that could be trained.

  Args:
    config: names the fields in the sentence.
    settings: of the run.
    stages: what it trains.

  Raises:
    UserError: a net does not suit the images, or the states of a stage, or one
      batch of images to score, exceed the memory.
  """
  # Every state is there on its way to the disk.
  memory = spec.memory_bytes()
  for stage in stages:
    if isinstance(stage, Fit):
      continue
    copies = 1 if isinstance(stage, Pretrained) else stage.members
    needed = state_bytes(stage, settings.data.shape) * copies * settings.seeds
    if needed > memory:
      raise UserError(
        f"the weights of '{stage.name}' take {needed / _GB:,.0f} GB where this"
        f" machine has {memory / _GB:,.0f} GB of memory; lower"
        f" {_raised(config)}."
      )
  pixels = 4 * math.prod(settings.data.shape)  # bytes, as float32
  count = settings.evaluation.batch_size
  if count * pixels > memory:
    raise UserError(
      f"evaluation.batch_size={count} images of {pixels / 1e6:,.1f} MB are more"
      f" than this machine's {memory / _GB:,.0f} GB of memory; lower it, to 64"
      " say, or lower data.image_size."
    )


def check_steps(
  stages: Sequence[Stage],
  pools: Mapping[str, np.ndarray],
  trials: members.Trials,
) -> None:
  """Checks that the pools fill their batches, and that steps can be counted.

  Raises:
    UserError: a pool is too small, or a phase has too many steps.
  """
  for stage in stages:
    if not isinstance(stage, Phase):
      continue
    order: index.Order = train.make_order(stage, pools, trials)
    steps = max(train.count_steps(stage, order))
    if steps > _LAST_STEP:
      raise UserError(
        f"'{stage.name}' would take {steps:,} steps, and at most"
        f" {_LAST_STEP:,} can be counted; lower its epochs or epoch_steps."
      )


def state_bytes(stage: Phase | Pretrained, shape: tuple[int, int, int]) -> int:
  """Bytes of one member's parameters, statistics and optimizer.

  Raises:
    UserError: the net does not suit images of that shape.
  """

  def start(key):
    params, extra = stage.init(key, shape)
    opt = stage.step.start(params) if isinstance(stage, Phase) else {}
    return params, extra, opt

  found = jax.eval_shape(start, jax.random.key(0))
  # Python's numbers: a product of sides may exceed an int64.
  return sum(
    math.prod(map(int, leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(found)
  )


def check_selection(
  settings: Settings, method: str, stages: Sequence[Stage]
) -> None:
  """Checks that what is held out and selected makes sense.

  Args:
    settings: of the run.
    method: its name.
    stages: what is trained.

  Raises:
    UserError: it does not.
  """
  known = {
    name
    for stage in stages
    if isinstance(stage, Phase)
    for name in stage.monitors
  }
  select = settings.select
  free = [ending.LAST, ending.AVERAGE]  # need no image that is held out
  if select not in free and select not in known:
    raise UserError(
      f"select='{select}' is no rule of {method}; set it to one of"
      f" {', '.join([*free, *sorted(known)])}."
    )
  if select not in free and not settings.validation.share:
    raise UserError(
      f"select='{select}' needs normal images that are held out; set"
      " validation.share, to 0.1 say."
    )


def _raised(config: Mapping[str, Any]) -> str:
  """The whole numbers that are above their defaults, largest ratio first."""
  default = configuration.flatten(
    configuration.defaults(config["method"], config.get("backbone"))
  )
  found = []
  for name, value in configuration.flatten(config).items():
    usual = default[name]
    if isinstance(usual, int) and isinstance(value, int) and value > usual:
      section = name.partition(".")[0]
      if section not in ("train", "mesh", "evaluation", "validation", "seed"):
        found.append((value / max(usual, 1), f"{name}={value}"))
  names = [text for _, text in sorted(found, reverse=True)[:4]]
  return ", ".join(names) or "data.image_size"
