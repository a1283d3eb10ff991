"""The reference nets' made-up `state_dict`s as our variables."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from medad_jax.weights import conversion, names
from tests.golden.filler import State

Tree = dict[str, Any]


def autoencoder(state: State) -> tuple[Tree, Tree]:
  """Parameters and running statistics of DDAD-ASR's autoencoders."""
  return _trees(names.ddad_autoencoder(), state)


def refine_net(state: State) -> tuple[Tree, Tree]:
  """Parameters and running statistics of `nets.refine.RefineNet`."""
  return _trees(names.ddad_refine(), state)


def reconstruction(state: State) -> tuple[Tree, Tree]:
  """Parameters and running statistics of MedIAnomaly's autoencoders."""
  return _trees(_medianomaly(state), state)


def encoder_decoder(state: State) -> tuple[Tree, Tree]:
  """Parameters and statistics of `nets.encoder_decoder.EncoderDecoder`."""
  return _trees(names.encoder_decoder(), state)


def projection(state: State) -> tuple[Tree, Tree]:
  """Parameters and running statistics of `nets.projection.Projection`."""
  layers = sum(np.ndim(state[k]) == 2 for k in state if k.startswith("head."))
  return _trees(names.projection(layers - 1), state)


def fanogan(state: State) -> tuple[Tree, Tree]:
  """Parameters and statistics of f-AnoGAN's "generator", "critic", "encoder".

  The keys are not those of an official `state_dict`, which does not exist.
  """
  table = {}
  for theirs, ours in (
    ("generator", "generator"),
    ("discriminator", "critic"),
    ("encoder", "encoder"),
  ):
    norm = conversion.NORM if ours == "critic" else conversion.BATCH_NORM
    kinds = {"output_norm": norm}
    dense = ("input", "output") if ours == "generator" else ("output", "input")
    kinds[dense[0]] = conversion.DENSE
    kinds[dense[1]] = conversion.CONV
    for place in range(1, 5):
      kinds |= {f"res{place}.norm{i}": norm for i in (1, 2)}
      layers = ("shortcut", "conv1", "conv2")
      kinds |= {f"res{place}.{layer}": conversion.CONV for layer in layers}
    for name, kind in kinds.items():
      path = f"{ours}/{name.replace('.', '/')}"
      table[f"{theirs}.{name}"] = conversion.Module(path, kind)
  return _trees(table, state)


def ganomaly_original(state: State) -> tuple[Tree, Tree]:
  """Parameters and statistics of the original GANomaly, "net" and "disc"."""
  table, counts = {}, {}
  scopes = {
    "netg.encoder1": "net/encoder",
    "netg.decoder": "net/decoder",
    "netg.encoder2": "net/second_encoder",
    "netd": "disc",
  }
  # In the order of the layers, as Flax counts them.
  for layer in dict.fromkeys(key.rpartition(".")[0] for key in state):
    scope = next(v for k, v in scopes.items() if layer.startswith(f"{k}."))
    kernel = np.ndim(state[f"{layer}.weight"]) == 4
    kind = conversion.BATCH_NORM
    if kernel:
      transposed = layer.endswith("convt")
      kind = conversion.CONV_TRANSPOSED if transposed else conversion.CONV
    name = f"{scope}/{'Conv4x4' if kernel else 'BatchNorm'}"
    counts[name] = counts.get(name, -1) + 1
    table[layer] = conversion.Module(f"{name}_{counts[name]}", kind)
  return _trees(table, state)


def memory_autoencoder(state: State) -> tuple[Tree, Tree]:
  """Parameters and statistics of `nets.memory_autoencoder`."""
  table = {"mem_rep.memory": conversion.Module("memory", conversion.MEMORY)}
  sides = ("encoder", conversion.CONV), ("decoder", conversion.CONV_TRANSPOSED)
  for side, (name, kind) in enumerate(sides):
    for level in range(4):
      place = level + 4 * side
      conv = conversion.Module(f"Conv3x3_{place}", kind)
      norm = conversion.Module(f"BatchNorm_{place}", conversion.BATCH_NORM)
      table |= {f"{name}.{3 * level}": conv, f"{name}.{3 * level + 1}": norm}
  return _trees(table, state)


def heads(state: State) -> Tree:
  """MADDR's heads, as `methods._constraint` has them."""
  table = {
    "fc1": conversion.Module("organ", conversion.DENSE),
    "fc2": conversion.Module("modality", conversion.DENSE),
  }
  return _trees(table, state)[0]


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


def _medianomaly(state: State) -> conversion.Table:
  """The table of one of MedIAnomaly's nets, told by the names."""
  if "last.weight" in state:
    return names.unet()
  gan = "netd.classifier.0.weight" in state
  prefixes = ("netg.encoder1.", "netg.decoder.") if gan else ("", "")
  down, up = (
    sum(np.ndim(state[k]) == 4 for k in state if k.startswith(block))
    for block in (f"{prefixes[0]}en_block1.", f"{prefixes[1]}de_block1.")
  )
  if gan:
    return names.ganomaly(down, up)
  spatial = np.ndim(state["bottle_neck.linear_enc.0.weight"]) == 4
  return names.autoencoder(down, up, "spatial" if spatial else "dense")


def _trees(table: conversion.Table, state: State) -> tuple[Tree, Tree]:
  found = conversion.to_flax(table, state)
  return found["params"], found.get("batch_stats", {})


def _is_pair(node):
  return isinstance(node, tuple) and isinstance(node[0], str)
