"""PyTorch's `state_dict` layout of the reference nets -> our variables."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from tests.golden.filler import State

Tree = dict[str, Any]


def autoencoder(state: State) -> tuple[Tree, Tree]:
  """Parameters and running statistics of `nets.autoencoder.Autoencoder`."""
  pairs = {f"encoder.{3 * i}": f"encoder/Conv4x4s2_{i}" for i in range(4)}
  pairs |= {f"encoder.{3 * i + 1}": f"encoder/BatchNorm_{i}" for i in range(4)}
  pairs |= {
    f"decoder.{3 * i}": f"decoder/ConvTranspose4x4s2_{i}" for i in range(4)
  }
  pairs |= {
    f"decoder.{3 * i + 1}": f"decoder/BatchNorm_{i + 1}" for i in range(3)
  }
  pairs |= {
    "linear_enc.0": "encoder/Dense_0",
    "linear_enc.1": "encoder/BatchNorm_4",
    "linear_enc.3": "encoder/Dense_1",
    "linear_dec.0": "decoder/Dense_0",
    "linear_dec.1": "decoder/BatchNorm_0",
    "linear_dec.3": "decoder/Dense_1",
    "mem_rep.memory": "memory",
  }
  return _convert(state, pairs)


def refine_net(state: State) -> tuple[Tree, Tree]:
  """Parameters and running statistics of `nets.refine.RefineNet`."""
  pairs = {f"model.{3 * i}": f"Conv3x3_{i}" for i in range(3)}
  pairs |= {f"model.{3 * i + 1}": f"BatchNorm_{i}" for i in range(2)}
  return _convert(state, pairs)


def by_key(
  params: Tree, stats: Tree, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
  """Leaves of our trees by PyTorch's key, in our layout.

  Converts the positions of the keys to find the places.
  """
  keys = [key for key in shapes if not key.endswith("num_batches_tracked")]
  marks = {key: np.full(shapes[key], i) for i, key in enumerate(keys)}
  convert = autoencoder if "encoder.0.weight" in shapes else refine_net
  places = jax.tree.map(lambda mark: keys[mark.flat[0]], convert(marks))
  pairs = jax.tree.map(lambda key, leaf: (key, leaf), places, (params, stats))
  return dict(jax.tree.leaves(pairs, is_leaf=_is_pair))


def _convert(state, pairs):
  params, stats = {}, {}
  for key, value in state.items():
    layer, name = key.rsplit(".", 1)
    if name == "num_batches_tracked":
      continue
    path = pairs[layer]
    if name.startswith("running_"):
      _insert(stats, path, name.removeprefix("running_"), value)
    else:
      _insert(params, path, *_parameter(path, name, value))
  return params, stats


def _parameter(path, name, value):
  if name == "bias":
    return "bias", value
  if "BatchNorm" in path:
    return "scale", value
  if path == "memory":
    return "items", value
  if "Transpose" in path:
    return "kernel", value.transpose(2, 3, 0, 1)
  if "Conv" in path:
    return "kernel", value.transpose(2, 3, 1, 0)
  return "kernel", value.T


def _insert(tree, path, name, value):
  for part in path.split("/"):
    tree = tree.setdefault(part, {})
  tree[name] = value


def _is_pair(node):
  return isinstance(node, tuple) and isinstance(node[0], str)
