"""Methods once more in PyTorch: nets, layers to compare, and scores.

A twin is made of a method, loads the `state_dict`s that the method's files hold
(`weights.layout`), and computes the scores of tests by itself.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

from flax import linen
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

from medad_jax import types
from medad_jax.methods import (
  ae,
  ae_l1,
  ae_perceptual,
  ae_spatial,
  ae_ssim,
  aeu,
  dae,
  memae,
  memae_2d,
  vae,
)
from medad_jax.mirrors import (
  autoencoder,
  memory_autoencoder,
  scores,
  unet,
  vgg,
)
from medad_jax.weights import layout

# Nets by the flag of their files, the members in order.
Nets = Mapping[str, Sequence[nn.Module]]
States = Mapping[str, types.TrainState]


@dataclasses.dataclass(frozen=True)
class Probe:
  """A pass through a net on both sides, whose layers are compared.

  Attributes:
    part: where the net lies in the states, "train/net".
    net: the Flax module.
    inputs: its arguments.
    options: its keyword arguments.
    run: the same pass through the PyTorch net.
  """

  part: str
  net: linen.Module
  inputs: tuple[Any, ...]
  options: Mapping[str, Any]
  run: Callable[[nn.Module], Any]


@dataclasses.dataclass(frozen=True)
class Found:
  """Scores in PyTorch.

  Attributes:
    image: scores of images by name, [b].
    maps: by name, [b h w].
  """

  image: Mapping[str, torch.Tensor]
  maps: Mapping[str, torch.Tensor]


class Twin:
  """The common part.

  Args:
    method: of which it is the twin.
    shape: height, width and channels of the images.
  """

  def __init__(self, method: Any, shape: tuple[int, int, int]):
    self.method, self.shape = method, shape

  def net(self, file: layout.File) -> nn.Module:
    """A new net of files of this kind."""
    raise NotImplementedError

  def probes(self, image: np.ndarray) -> list[Probe]:
    """Passes through all kinds of nets, of images [b h w c] in [-1, 1]."""
    raise NotImplementedError

  def score(self, nets: Nets, image: torch.Tensor, states: States) -> Found:
    """Scores of images, by nets with loaded weights.

    Args:
      nets: in evaluation mode.
      image: [b c h w] in [-1, 1].
      states: of one trial: keys of draws, estimates, classifiers' features.
    """
    raise NotImplementedError


class Reconstruction(Twin):
  """Methods of `_reconstruction` whose net reproduces images."""

  def net(self, file):
    """MedIAnomaly's net."""
    del file
    return self.published()

  def published(self) -> nn.Module:
    """The net of `model.pt`."""
    method, (side, _, channels) = self.method, self.shape
    if isinstance(method, dae.Method):
      return unet.UNet(method.width, channels, method.levels)
    if isinstance(method, memae_2d.Method):
      return memory_autoencoder.MemoryAutoencoder(
        method.channels, method.slots, method.threshold, channels
      )
    return autoencoder.Published(
      *(method.width, method.latent, method.hidden),
      *(method.down_depth, method.up_depth, side, channels),
      spatial=isinstance(method, ae_spatial.Method),
      drawn=isinstance(method, vae.Method),
      **options_of(method),
    )

  def probes(self, image):
    """One pass in test mode."""
    return [self.probe("train/net", image)]

  def probe(self, part: str, image: np.ndarray) -> Probe:
    """The pass of one net; a code that is drawn is its mean."""
    method = self.method
    inputs: tuple[Any, ...] = (jnp.asarray(image),)
    options: dict[str, Any] = {"train": False}
    if isinstance(method, dae.Method):
      options = {}
    if isinstance(method, vae.Method):
      inputs = (*inputs, jnp.zeros((len(image), method.latent)))
    x = tensor(image)
    return Probe(
      part,
      method.net(types.Axis()),
      inputs,
      options,
      lambda net: net(like(x, net)),
    )

  def outputs(
    self, net: nn.Module, image: torch.Tensor, state: Any
  ) -> dict[str, torch.Tensor]:
    """ "x_hat" and, where it is predicted, "log_var"."""
    del state
    found, channels = net(image), image.shape[1]
    if found.shape[1] == channels:
      return {"x_hat": found}
    return {"x_hat": found[:, :channels], "log_var": found[:, channels:]}

  def error(
    self,
    image: torch.Tensor,
    x_hat: torch.Tensor,
    variance: torch.Tensor | None,
    states: States,
  ) -> torch.Tensor:
    """The pixel map of a reconstruction."""
    del states
    method = self.method
    if isinstance(method, ae_l1.Method):
      return scores.absolute(image, x_hat, variance)
    if isinstance(method, ae_ssim.Method):
      return scores.dissimilarity(image, x_hat, method.registered)
    return scores.error(image, x_hat, variance)

  def score(self, nets, image, states):
    """ "rec", "rec_k" of several members, and what further maps there are."""
    own = nets["checkpoint"]
    every = members_of(states["train"], range(len(own)))
    outs = [self.outputs(n, image, s) for n, s in zip(own, every, strict=True)]
    x_hat = torch.stack([out["x_hat"] for out in outs])
    variance = mean_variance(outs)
    maps = {"rec": self.error(image, x_hat.mean(0), variance, states)}
    found = {name: means(values) for name, values in maps.items()}
    if len(own) > 1:
      for k, out in enumerate(outs):
        single = out["log_var"].exp() if "log_var" in out else None
        map_ = self.error(image, out["x_hat"], single, states)
        found[f"rec_{k}"] = means(map_)
    further = [
      self.further(n, image, s) for n, s in zip(own, every, strict=True)
    ]
    for name in further[0]:
      maps[name] = torch.stack([one[name] for one in further]).mean(0)
      found[name] = means(maps[name])
    return Found(found, maps)

  def further(
    self, net: nn.Module, image: torch.Tensor, state: Any
  ) -> dict[str, torch.Tensor]:
    """Further maps of one member."""
    del net, image, state
    return {}


class Gradient(Reconstruction):
  """AE, whose derivative is a score, too."""

  def further(self, net, image, state):
    """ "grad_rec"."""
    del state

    def value(x):
      return ((net(x) - x) ** 2).mean((1, 2, 3))

    gradient = scores.input_gradient(value, image)
    return {"grad_rec": gradient.abs().mean(1)}


class Variational(Reconstruction):
  """VAE, with the noise that the method draws."""

  def outputs(self, net, image, state):
    """ "x_hat", the mean over the draws."""
    noise = np.array(self.method.noise(state, len(image)))
    noise = torch.from_numpy(noise).to(image)
    return {"x_hat": torch.stack([net(image, one) for one in noise]).mean(0)}

  def further(self, net, image, state):
    """ "grad_rec", "grad_kl", "grad_elbo" and "combi"."""

    def error(x):
      x_hat = self.outputs(net, x, state)["x_hat"]
      return ((x_hat - x) ** 2).mean((1, 2, 3))

    def code(x):
      mean, log_var = net.encode(x).chunk(2, 1)
      return scores.divergence(mean, log_var)

    by_error = scores.input_gradient(error, image)
    by_code = scores.input_gradient(code, image)
    weight = self.method.divergence_weight
    x_hat = self.outputs(net, image, state)["x_hat"]
    found = {
      "grad_rec": by_error,
      "grad_kl": by_code,
      "grad_elbo": by_error + weight * by_code,
      "combi": (image - x_hat) ** 2 * by_code,
    }
    return {name: x.abs().mean(1) for name, x in found.items()}


class Perceptual(Reconstruction):
  """AE-PL, whose errors are those of VGG19's features."""

  def error(self, image, x_hat, variance, states):
    """The distance of the features, at the images' size."""
    del variance
    params, layer = single(states["features"].params), self.method.layer
    judge = vgg.Perceptual(params["vgg19"], {layer: params["vgg19_r42"]})
    return judge.map(image, x_hat, (layer,))


def options_of(method: Any) -> dict[str, Any]:
  """The options of an autoencoder that a kind of method sets."""
  found: dict[str, Any] = {"variance": isinstance(method, aeu.Method)}
  if isinstance(method, memae.Method):
    found |= {"slots": method.slots, "threshold": method.threshold}
  return found


def reconstruction(method: Any, shape: tuple[int, int, int]) -> Reconstruction:
  """The twin of a reconstruction method."""
  kinds = {
    ae.Method: Gradient,
    vae.Method: Variational,
    ae_perceptual.Method: Perceptual,
  }
  return kinds.get(type(method), Reconstruction)(method, shape)


def tensor(image: np.ndarray) -> torch.Tensor:
  """[b h w c] -> [b c h w]."""
  return torch.from_numpy(np.array(image).transpose(0, 3, 1, 2).copy())


def like(x: torch.Tensor, net: nn.Module) -> torch.Tensor:
  """The numbers in the type of a net's."""
  return x.to(next(net.parameters()).dtype)


def means(maps: torch.Tensor) -> torch.Tensor:
  """Image scores of maps."""
  return maps.mean((1, 2))


def mean_variance(outs: Sequence[Mapping[str, torch.Tensor]]):
  """The mean over members of predicted variances; None if there are none."""
  if "log_var" not in outs[0]:
    return None
  return torch.stack([out["log_var"].exp() for out in outs]).mean(0)


def single(tree: Any) -> Any:
  """Arrays of a stage with one member, without the members' axis."""
  if isinstance(tree, Mapping):
    return {name: single(value) for name, value in tree.items()}
  return np.array(tree[0])


def members_of(
  state: types.TrainState, rows: Sequence[int]
) -> list[types.TrainState]:
  """The keys of single members, of which tests draw."""
  none = (None,) * 4
  return [types.TrainState(*none, state.key[row]) for row in rows]
