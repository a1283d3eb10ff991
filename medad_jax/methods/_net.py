"""One network as a method's parameters: its variables, under "net".

`precision` is that of the network's products, and under "bfloat16" also that of
what lies between its layers:

  "float32"        all of float32, on every device;
  "tensorfloat32"  10 of its 23 bits in products: several times faster on
                   NVIDIA's tensor cores, nearly float32 on TPUs (three products
                   of bfloat16), float32 elsewhere;
  "bfloat16"       7 bits and half the memory between layers.

It ends with the network: losses, augmentation, scores and optimizer use float32
in all cases, and parameters and statistics are float32.
"""

from typing import Any, Literal

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from medad_jax import rng

# The names are those of `jax.default_matmul_precision`, too.
Precision = Literal["float32", "tensorfloat32", "bfloat16"]


def init(net: nn.Module, key: PRNGKeyArray, *inputs: Array) -> tuple[Any, Any]:
  """Parameters and running statistics of a network, under "net"."""
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
  """Outputs in training, and the new running statistics under "net"."""
  with jax.default_matmul_precision(precision):
    out, new = net.apply(
      _variables(params, extra, precision),
      *_lowered(inputs, precision),
      train=True,
      mutable=["batch_stats"],
      **options,
    )
  return _raised(out, precision), {"net": new["batch_stats"]}


def test(
  net: nn.Module,
  params: Any,
  extra: Any,
  *inputs: Array,
  precision: str = "float32",
) -> Any:
  """Outputs with the statistics of the training."""
  with jax.default_matmul_precision(precision):
    out = net.apply(
      _variables(params, extra, precision),
      *_lowered(inputs, precision),
      train=False,
    )
  return _raised(out, precision)


def apply(
  net: nn.Module, params: Any, *inputs: Array, precision: str = "float32"
) -> Any:
  """Outputs of a network without running statistics."""
  with jax.default_matmul_precision(precision):
    out = net.apply(
      {"params": _lowered(params["net"], precision)},
      *_lowered(inputs, precision),
    )
  return _raised(out, precision)


def _lowered(tree, precision):
  """Arrays as a network of that precision takes them."""
  # Nothing is cast to "float32": tests of numbers run in float64.
  if precision != "bfloat16":
    return tree
  return jax.tree.map(lambda x: x.astype(precision), tree)


def _raised(tree, precision):
  """Outputs of such a network, for everything that is not a network."""
  if precision != "bfloat16":
    return tree
  return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


def _variables(params, extra, precision):
  low = _lowered(params["net"], precision)
  return {"params": low, "batch_stats": extra["net"]}
