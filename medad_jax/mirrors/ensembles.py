"""DDAD-ASR in PyTorch (Cai et al., Medical Image Analysis 2023)."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
import torch

from medad_jax import types
from medad_jax.methods import ae, aeu, memae
from medad_jax.mirrors import autoencoder, scores, twins
from medad_jax.mirrors.refine import RefineNet
from medad_jax.mirrors.twins import Found, Probe, means
from medad_jax.nets import refine

# What each refinement net sees, in the order of its channels.
_INPUTS = {"dual": ("inter", "intra"), "intra": ("intra",)}


class Ddad(twins.Twin):
  """Two ensembles of a backbone, and refinement nets."""

  def __init__(self, method, shape):
    super().__init__(method, shape)
    self._backbone = twins.reconstruction(method.backbone, shape)

  def net(self, file):
    """A member, or a refinement net."""
    if file.flag == "refine":
      stage = file.stages[0]
      inputs = _INPUTS[stage.removeprefix("refine_")]
      return RefineNet(len(inputs), self.method.refine.width)
    backbone, (side, _, channels) = self.method.backbone, self.shape
    official = isinstance(backbone, ae.Method | aeu.Method | memae.Method)
    if official and backbone.down_depth == backbone.up_depth == 1:
      return autoencoder.Autoencoder(
        *(backbone.width, backbone.latent, backbone.hidden, side, channels),
        **twins.options_of(backbone),
      )
    return self._backbone.published()

  def probes(self, image):
    """A pass of each kind of member; the refinement net sees its maps."""
    found = [self._backbone.probe("ensemble/net", image)]
    net = refine.RefineNet(self.method.refine.width, types.Axis())
    for name in self._refined():
      # Any maps will do: the nets are compared.
      maps = np.repeat(np.abs(image[..., :1]), len(_INPUTS[name]), -1)
      x = twins.tensor(maps)
      found.append(
        Probe(
          f"refine_{name}/net",
          net,
          (jnp.asarray(maps),),
          {"train": False},
          lambda net, x=x: net(twins.like(x, net)),
        )
      )
    return found

  def score(self, nets, image, states):
    """All scores of `methods.ddad`."""
    size = self.method.ensemble.size
    every = twins.members_of(states["ensemble"], range(2 * size))
    outs = [
      self._backbone.outputs(net, image, state)
      for net, state in zip((*nets["udm"], *nets["ndm"]), every, strict=True)
    ]
    x_hat = torch.stack([out["x_hat"] for out in outs])
    normative = outs[size:]
    maps: Mapping[str, torch.Tensor] = scores.discrepancies(
      image, x_hat[:size], x_hat[size:], twins.mean_variance(normative)
    )
    maps = dict(maps)
    for name, net in zip(self._refined(), nets.get("refine", ()), strict=False):
      stack = torch.stack([maps[part] for part in _INPUTS[name]], 1)
      maps[f"r_{name}"] = net(stack).softmax(1)[:, 1]
    found = {name: means(map_) for name, map_ in maps.items()}
    for k, out in enumerate(normative):
      variance = out["log_var"].exp() if "log_var" in out else None
      found[f"rec_{k}"] = means(scores.error(image, out["x_hat"], variance))
    return Found(found, maps)

  def _refined(self) -> tuple[str, ...]:
    names = (n.removeprefix("r_") for n in self.method.score_names)
    return tuple(n for n in self.method.refine.inputs if n in set(names))
