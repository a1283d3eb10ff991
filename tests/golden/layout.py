"""The reference nets' made-up `state_dict`s as our variables."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from medad_jax.weights import conversion, gan_names, names
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


def wide_resnet(state: State) -> tuple[Tree, Tree]:
  """Parameters and running statistics of `nets.wide_resnet.WideResNet`."""
  kinds = {"bn": conversion.BATCH_NORM, "fc": conversion.DENSE}
  table = {}
  for name in {key.rsplit(".", 1)[0] for key in state}:
    layer = name.rsplit(".", 1)[-1]
    kind = kinds.get(layer[:2], conversion.CONV)
    path = name.replace(".block", "_block").replace("head.", "head_")
    table[name] = conversion.Module(path.replace(".", "/"), kind)
  return _trees(table, state)


def fanogan(state: State) -> tuple[Tree, Tree]:
  """Parameters and statistics of f-AnoGAN's "generator", "critic", "encoder".

  The keys are not those of an official `state_dict`, which does not exist.
  """
  return tuple(
    {**tree.get("gan", {}), "encoder": tree.get("train", {}).get("net", {})}
    for tree in _trees(gan_names.fanogan(), state)
  )


def ganomaly_original(state: State) -> tuple[Tree, Tree]:
  """Parameters and statistics of the original GANomaly, "net" and "disc"."""
  kernels = {k: np.shape(v) for k, v in state.items() if np.ndim(v) == 4}
  first, *_ = kernels.values()
  (z,) = (s[0] for k, s in kernels.items() if ".decoder.main.initial-" in k)
  levels = sum(k.startswith("netd.features.") for k in kernels)
  table = gan_names.ganomaly_original(4 << levels, first[0], first[1], z)
  return _trees(table, state)


def memory_autoencoder(state: State) -> tuple[Tree, Tree]:
  """Parameters and statistics of `nets.memory_autoencoder`."""
  return _trees(gan_names.memory_autoencoder(4), state)


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
