"""One net as a method's parameters: its variables, under "net".

`precision` is that of the net's products and of what lies between its layers:
"float32", or "bfloat16" for half the memory and the quicker units of
accelerators. Parameters, statistics, losses and optimizer keep float32.
"""

from typing import Any, Literal

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from medad_jax import rng

Precision = Literal["float32", "bfloat16"]


def init(net: nn.Module, key: PRNGKeyArray, *inputs: Array) -> tuple[Any, Any]:
  """Parameters and running statistics of a net, under "net"."""
  found = net.init(rng.stream(key, "net"), *inputs, train=False)
  return {"net": found["params"]}, {"net": found["batch_stats"]}


def train(
  net: nn.Module,
  params: Any,
  extra: Any,
  *inputs: Array,
  precision: str = "float32",
  **options: Any,
) -> tuple[Any, Any]:
  """A net in training: its outputs and new running statistics, under "net"."""
  out, new = net.apply(
    _variables(params, extra, precision),
    *lowered(inputs, precision),
    train=True,
    mutable=["batch_stats"],
    **options,
  )
  return raised(out, precision), {"net": new["batch_stats"]}


def test(
  net: nn.Module,
  params: Any,
  extra: Any,
  *inputs: Array,
  precision: str = "float32",
) -> Any:
  """A net's outputs with the statistics of its training."""
  out = net.apply(
    _variables(params, extra, precision),
    *lowered(inputs, precision),
    train=False,
  )
  return raised(out, precision)


def lowered(tree: Any, precision: str) -> Any:
  """Arrays as a net of that precision takes them."""
  # Nothing is cast to "float32": tests of numbers run in float64.
  if precision == "float32":
    return tree
  return jax.tree.map(lambda x: x.astype(precision), tree)


def raised(tree: Any, precision: str) -> Any:
  """What such a net returned, for everything that is not a net."""
  if precision == "float32":
    return tree
  return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


def _variables(params: Any, extra: Any, precision: str) -> Any:
  low = lowered(params["net"], precision)
  return {"params": low, "batch_stats": extra["net"]}
