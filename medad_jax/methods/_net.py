"""One net as a method's parameters: its variables, under "net"."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from jaxtyping import Array, PRNGKeyArray

from medad_jax import rng


def init(net: nn.Module, key: PRNGKeyArray, *inputs: Array) -> tuple[Any, Any]:
  """Parameters and running statistics of a net, under "net"."""
  found = net.init(rng.stream(key, "net"), *inputs, train=False)
  return {"net": found["params"]}, {"net": found["batch_stats"]}


def variables(params: Any, extra: Any) -> Mapping[str, Any]:
  """A net's parameters and running statistics, as Flax wants them."""
  return {"params": params["net"], "batch_stats": extra["net"]}
