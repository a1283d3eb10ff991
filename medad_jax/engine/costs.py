"""Costs of a trained model: parameters, multiply-adds, images a second."""

from collections.abc import Iterator
import dataclasses
import math
import statistics
import time
from typing import Any

import jax
import numpy as np

from medad_jax.engine import batched, scorer
from medad_jax.engine.trained import Trained
from medad_jax.nets import ops
from medad_jax.types import Phase

_REPEATS = 3  # timed batches; the median counts


@dataclasses.dataclass(frozen=True)
class Costs:
  """Costs of one training of a model.

  Attributes:
    parameters: trained numbers of all its nets.
    macs: multiply-adds of convolutions and products that score one image,
      those of gradients among them.
    images_per_second: scored on the devices of this machine, as it is.
  """

  parameters: int
  macs: int
  images_per_second: float


def measure(model: Trained) -> Costs:
  """Counts and times the scoring of an image.

  The time is of whatever else the machine does meanwhile, too.
  """
  trials = len(model.trials)
  # Imported nets and fitted densities are no trained numbers.
  trained = [s.name for s in model.method.phases() if isinstance(s, Phase)]
  sizes = [
    leaf.size
    for name in trained
    if name in model.states
    for leaf in jax.tree.leaves(model.states[name].params)
  ]
  return Costs(sum(sizes) // trials, macs(model), _rate(model))


def macs(model: Trained) -> int:
  """Multiply-adds that score one image with one training."""
  trials = len(model.trials)
  # The very function that the evaluation compiles.
  function = scorer.score_function(model.method, trials)
  kind = np.dtype(model.settings.data.dtype)
  arrays = {
    "image": jax.ShapeDtypeStruct((1, *model.shape), kind),
    **{
      name: jax.ShapeDtypeStruct((1,), np.int32)
      for name in ("id", *model.codes)
    },
  }
  # XLA's own operations: the CPU's forms save multiplications.
  with ops.own_forms(False):
    traced = jax.make_jaxpr(
      lambda states, given: function(states, batched.batch_of(given))
    )(dict(model.states), arrays)
  return _of_equations(traced.jaxpr) // trials


def _rate(model: Trained) -> float:
  count = model.settings.evaluation.batch_size
  kind = np.dtype(model.settings.data.dtype)
  # Noise, as no data set need be there; a step takes as long on any image.
  levels = np.random.default_rng(0).integers(0, 256, (count, *model.shape))
  images = levels.astype(kind)
  jax.block_until_ready(list(model.batches(images)))  # compiles
  seconds = []
  for _ in range(_REPEATS):
    start = time.perf_counter()
    jax.block_until_ready(list(model.batches(images)))
    seconds.append(time.perf_counter() - start)
  return count * len(model.trials) / statistics.median(seconds)


def _of_equations(jaxpr: Any) -> int:
  total = 0
  for equation in jaxpr.eqns:
    name, out = equation.primitive.name, equation.outvars[0].aval
    if name == "dot_general":
      (contracted, _), _ = equation.params["dimension_numbers"]
      left = equation.invars[0].aval.shape
      total += math.prod(out.shape) * math.prod(left[i] for i in contracted)
    elif name == "conv_general_dilated":
      total += _of_convolution(equation, out)
    else:
      inner = [_of_equations(one) for one in _inner(equation)]
      # Loops of unknown length count once: a method has none when it scores.
      if name == "scan":
        total += equation.params["length"] * sum(inner)
      elif name == "cond":  # one branch is taken
        total += max(inner)
      else:
        total += sum(inner)
  return total


def _of_convolution(equation: Any, out: Any) -> int:
  kernel = equation.invars[1].aval.shape
  numbers = equation.params["dimension_numbers"].rhs_spec
  each = math.prod(kernel[i] for i in numbers[1:])
  # A transposed convolution is one of an image with zeros between its pixels,
  # which nobody need multiply.
  between = math.prod(equation.params["lhs_dilation"])
  return math.prod(out.shape) * each // between


def _inner(equation: Any) -> Iterator[Any]:
  """The programs inside of an equation."""
  for value in equation.params.values():
    for one in value if isinstance(value, (tuple, list)) else (value,):
      if hasattr(one, "eqns"):
        yield one
      elif hasattr(getattr(one, "jaxpr", None), "eqns"):
        yield one.jaxpr
