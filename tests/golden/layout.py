"""PyTorch's `state_dict` layout of the reference nets -> our variables."""

from collections.abc import Callable, Mapping
import re
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


def reconstruction(state: State) -> tuple[Tree, Tree]:
  """Parameters and running statistics of MedIAnomaly's nets.

  Layers of a part lie in the order in which they run, as ours are numbered.
  """
  places, count = {}, {}
  for key, value in state.items():
    layer, name = key.rsplit(".", 1)
    if name == "weight":
      scope, kind = _scope(layer), _kind(layer, value)
      number = count.setdefault((scope, kind), 0)
      count[scope, kind] += 1
      place = "/".join(filter(None, (scope, f"{kind}_{number}")))
      places[layer] = "memory" if scope == "memory" else place
  return _convert(state, places)


def encoder_decoder(state: State) -> tuple[Tree, Tree]:
  """Parameters and statistics of `nets.encoder_decoder.EncoderDecoder`."""
  places = {"nin.0": "reduce_0", "nin.2": "reduce_1"}
  places["convtranspose1"] = "transpose"
  for level in (1, 2, 3):
    for theirs, ours in {
      "conv1": "transpose1",
      "bn1": "bn1",
      "conv2": "conv2",
      "bn2": "bn2",
      "upsample.0": "transpose_shortcut",
      "upsample.1": "bn_shortcut",
    }.items():
      places[f"uplayer{level}.0.{theirs}"] = f"up{level}/{ours}"
  return _convert(state, _encoder(state) | places)


def projection(state: State) -> tuple[Tree, Tree]:
  """Parameters and running statistics of `nets.projection.Projection`."""
  places = {"out": "out"}
  for layer in _layers(state):
    if layer.startswith("head."):
      kind = "BatchNorm" if f"{layer}.running_mean" in state else "Dense"
      places[layer] = f"{kind}_{int(layer.split('.')[1]) // 3}"
  return _convert(state, _encoder(state) | places)


def by_key(
  params: Tree,
  stats: Tree,
  shapes: Mapping[str, tuple[int, ...]],
  convert: Callable[[State], tuple[Tree, Tree]],
) -> dict[str, np.ndarray]:
  """Leaves of our trees by PyTorch's key, in our layout.

  Converts the positions of the keys to find the places.
  """
  keys = [key for key in shapes if not key.endswith("num_batches_tracked")]
  marks = {key: np.full(shapes[key], i) for i, key in enumerate(keys)}
  places = jax.tree.map(lambda mark: keys[mark.flat[0]], convert(marks))
  pairs = jax.tree.map(lambda key, leaf: (key, leaf), places, (params, stats))
  return dict(jax.tree.leaves(pairs, is_leaf=_is_pair))


def _encoder(state):
  """The layers of a ResNet: "." between levels becomes "/", else "_"."""
  return {
    layer: re.sub(r"(layer\d|downsample)\.(\d)", r"\1_\2", layer).replace(
      ".", "/"
    )
    for layer in _layers(state)
  }


def _layers(state):
  return {key.rsplit(".", 1)[0] for key in state}


def _scope(layer: str) -> str:
  """Which of our modules a layer of MedIAnomaly belongs to."""
  parts = layer.split(".")
  if parts[0] == "netg":
    return {"encoder1": "net/encoder", "encoder2": "net/second_encoder"}.get(
      parts[1], "net/decoder"
    )
  if parts[0] == "netd":
    return "disc" if parts[1] == "classifier" else "disc/encoder"
  if parts[0] in ("down_path", "up_path"):
    number = int(parts[1]) + (5 if parts[0] == "up_path" else 0)
    return "" if "up" in parts else f"ConvBlock_{number}"
  if parts[0] == "last":
    return ""
  inner = parts[1] if parts[0] == "bottle_neck" else parts[0]
  return {"e": "encoder", "d": "decoder", "m": "memory"}[
    inner.removeprefix("linear_")[0]
  ]


def _kind(layer: str, weight: np.ndarray) -> str:
  """The name of our layer."""
  unet = "_path" in layer
  if weight.ndim == 1:
    return "GroupNorm" if unet else "BatchNorm"
  side = weight.shape[-1] if weight.ndim == 4 else 1
  if side == 3:
    return "StandardizedConv3x3" if unet else "Conv3x3"
  if side == 2:
    return "UpSample"
  if side == 4:
    return "ConvTranspose4x4s2" if "de_block" in layer else "Conv4x4s2"
  return "Dense"


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
  if value.ndim == 1:
    return "scale", value
  layer = path.rsplit("/", 1)[-1]
  if layer == "memory":
    return "items", value
  if "transpose" in layer.lower():
    return "kernel", value.transpose(2, 3, 0, 1)
  if "UpSample" in layer:
    return "kernel", value.transpose(0, 2, 3, 1)
  if value.ndim == 2 or layer.startswith("Dense"):
    return "kernel", value.reshape(value.shape[:2]).T
  return "kernel", value.transpose(2, 3, 1, 0)


def _insert(tree, path, name, value):
  for part in path.split("/"):
    tree = tree.setdefault(part, {})
  tree[name] = value


def _is_pair(node):
  return isinstance(node, tuple) and isinstance(node[0], str)
