"""Twins of methods that do more than reproduce images."""

import copy
import dataclasses

from flax import linen
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from medad_jax import types
from medad_jax.augment.nsa import frame
from medad_jax.methods import dpa, ganomaly
from medad_jax.mirrors import (
  fanogan,
  gan,
  introspective,
  residual,
  resnet,
  scores,
  twins,
  vgg,
)
from medad_jax.mirrors.twins import Found, Probe, like, means, tensor
from medad_jax.nets import encoder_decoder
from medad_jax.nets import fanogan as flax_fanogan
from medad_jax.nets import introspective as flax_introspective

_TEST = {"train": False}


class Ganomaly(twins.Twin):
  """GANomaly, MedIAnomaly's variant and the original."""

  def net(self, file):
    """Generator and discriminator."""
    del file
    method, (side, _, channels) = self.method, self.shape
    if isinstance(method, ganomaly.Method):
      return gan.Ganomaly(
        *(method.width, method.latent, method.hidden),
        *(method.down_depth, method.up_depth, side, channels),
      )
    return gan.Original(method.width, method.latent, side, channels)

  def probes(self, image):
    """The generator, with running statistics."""
    return [_whole("train/net", self.method.net(types.Axis()), image)]

  def score(self, nets, image, states):
    """ "latent"."""
    del states
    gaps = []
    for net in nets["checkpoint"]:
      _, code, again = self._outputs(net, image)
      gaps.append(((code - again) ** 2).mean(1))
    return Found({"latent": torch.stack(gaps).mean(0)}, {})

  def _outputs(self, net, image):
    if not getattr(self.method, "own_statistics", False):
      return net(image)
    # An image by itself, in training mode: a copy, as statistics move.
    alone = copy.deepcopy(net).train()
    parts = [alone(one[None]) for one in image]
    return [torch.cat(outs) for outs in zip(*parts, strict=True)]


class OneStage(twins.Twin):
  """The segmenters of synthetic anomalies."""

  def net(self, file):
    """The encoder-decoder."""
    del file
    return resnet.EncoderDecoder(self.method.width, self.shape[-1])

  def probes(self, image):
    """The middle view."""
    view = self._view(tensor(image))
    inputs = (jnp.asarray(view.numpy().transpose(0, 2, 3, 1)),)
    net = self.method.net(types.Axis())
    probe = Probe(
      "train/net", net, inputs, _TEST, lambda net: net(like(view, net))
    )
    return [probe]

  def score(self, nets, image, states):
    """ "anomaly"."""
    del states
    side = frame.side_of(min(self.shape[:2]))
    last = torch.relu if self.method.recipe.label == "raw" else torch.sigmoid
    view = self._view(image)
    maps = [last(net(view))[:, 0, :side, :side] for net in nets["checkpoint"]]
    whole = image.new_zeros(len(image), *self.shape[:2])
    top, left = (round((n - side) / 2) for n in self.shape[:2])
    whole[:, top : top + side, left : left + side] = torch.stack(maps).mean(0)
    return Found({"anomaly": means(whole)}, {"anomaly": whole})

  def _view(self, image):
    """The middle in [0, 1], with black below and to the right."""
    side = frame.side_of(min(self.shape[:2]))
    top, left = (round((n - side) / 2) for n in self.shape[:2])
    view = image[..., top : top + side, left : left + side] / 2 + 0.5
    more = -side % encoder_decoder.STRIDES
    return F.pad(view, (0, more, 0, more))


class TwoStage(twins.Twin):
  """The classifiers of synthetic anomalies, and densities of their features."""

  def net(self, file):
    """ResNet18 with a projection head."""
    del file
    method = self.method
    return resnet.Projection(
      1 + len(method.views()), method.layers, method.width, self.shape[-1]
    )

  def probes(self, image):
    """One pass in test mode."""
    return [_whole("train/net", self.method.net(types.Axis()), image)]

  def score(self, nets, image, states):
    """ "classifier" and "distance", from the density as it was estimated."""
    measure = scores.mahalanobis
    if self.method.density == "kernel":
      measure = scores.kernel_score
    found: dict[str, list[torch.Tensor]] = {"classifier": [], "distance": []}
    for k, net in enumerate(nets["checkpoint"]):
      features, logits = net(image)
      features = F.normalize(features, dim=1)
      params = states["density"].params
      density = {name: np.array(x[k]) for name, x in params.items()}
      found["classifier"].append(1 - logits.softmax(1)[:, 0])
      found["distance"].append(measure(features, density))
    return Found({k: torch.stack(v).mean(0) for k, v in found.items()}, {})


class Residual(twins.Reconstruction):
  """DPA and PIAD."""

  def published(self):
    """Encoder and decoder; no score needs a critic."""
    method, (side, _, channels) = self.method, self.shape
    return residual.Autoencoder(
      method.channels,
      method.decoder_channels or method.channels[::-1],
      *(method.latent, method.latent_side, method.depth, side, channels),
    )

  def probe(self, part, image):
    """One pass."""
    return dataclasses.replace(super().probe(part, image), options={})

  def error(self, image, x_hat, variance, states):
    """The distances that training descends, as a map."""
    del variance
    method = self.method
    weight = getattr(method, "perceptual_weight", 1.0)
    total = image.new_zeros(len(image), *self.shape[:2])
    if weight:
      params = twins.single(states["features"].params)
      judge = vgg.Perceptual(params["vgg19"], params["statistics"])
      total += weight * judge.map(image, x_hat, method.layers)
    if not isinstance(method, dpa.Method):
      return total
    if method.mode == "fixed" and weight and method.adversarial_weight:
      return total
    gap = x_hat - image
    total += method.l1_weight * gap.abs().mean(1)
    return total + method.l2_weight * (gap**2).mean(1)


class Reversed(twins.Twin):
  """RA: reconstructions in PyTorch, maps of them by this project."""

  def net(self, file):
    """Encoder and decoder."""
    del file
    method = self.method
    return introspective.Reversed(
      method.widths, method.latent, method.projected, self.shape[0]
    )

  def probes(self, image):
    """Encoder and decoder, the latter with the images' mean codes."""
    unit, method = (image + 1) / 2, self.method
    sizes = method.widths, method.latent, method.projected
    others = method.widths, method.projected
    x, axis = tensor(unit), types.Axis()
    code = np.random.default_rng(0).normal(size=(len(image), method.latent))
    code = code.astype(np.float32)
    z = torch.from_numpy(code)
    return [
      Probe(
        "train/encoder",
        flax_introspective.Encoder(*sizes, axis),
        (jnp.asarray(unit),),
        _TEST,
        lambda net: net.encode(like(x, net)),
      ),
      Probe(
        "train/decoder",
        flax_introspective.Decoder(self.shape[:2], 1, *others, axis),
        (jnp.asarray(code),),
        _TEST,
        lambda net: net.decode(like(z, net)),
      ),
    ]

  def score(self, nets, image, states):
    """ "anomaly", by `methods.ra` from PyTorch's reconstructions."""
    drawn = []
    for k, net in enumerate(nets["checkpoint"]):
      (state,) = twins.members_of(states["train"], (k,))
      mean, log_var = net.encode((image + 1) / 2)
      noise = np.array(self.method.test_noise(state))
      noise = torch.from_numpy(noise).to(image)
      codes = [mean + torch.exp(log_var / 2) * one for one in noise]
      drawn.append(torch.stack([net.decode(z) for z in codes], 1))
    x_hat = torch.stack(drawn).permute(0, 1, 2, 4, 5, 3)
    batch = {"image": jnp.asarray(image.permute(0, 2, 3, 1).float().numpy())}
    found = self.method.score(
      {"x_hat": jnp.asarray(x_hat.float().numpy())}, batch, states
    )
    return Found(
      {k: torch.from_numpy(np.array(v)) for k, v in found.image.items()},
      {k: torch.from_numpy(np.array(v)) for k, v in found.maps.items()},
    )


class Fanogan(twins.Twin):
  """f-AnoGAN."""

  def net(self, file):
    """Generator, critic and encoder."""
    del file
    side, _, channels = self.shape
    widths = flax_fanogan.widths_of(side, self.method.width)
    return fanogan.Fanogan(widths, self.method.latent, channels)

  def probes(self, image):
    """The three nets, the generator with drawn codes."""
    method, axis, x = self.method, types.Axis(), tensor(image)
    code = np.random.default_rng(0).normal(size=(len(image), method.latent))
    code = code.astype(np.float32)
    z, given = torch.from_numpy(code), (jnp.asarray(image),)
    side, _, channels = self.shape
    generator = flax_fanogan.Generator(side, channels, method.width, axis)
    critic = flax_fanogan.Critic(method.width)
    encoder = flax_fanogan.Encoder(method.latent, method.width, axis)
    return [
      Probe(
        "gan/generator",
        generator,
        (jnp.asarray(code),),
        _TEST,
        lambda net: net.generator(like(z, net)),
      ),
      Probe(
        "gan/critic",
        critic,
        given,
        {},
        lambda net: net.discriminator(like(x, net)),
      ),
      Probe(
        "train/net", encoder, given, _TEST, lambda net: net.encode(like(x, net))
      ),
    ]

  def score(self, nets, image, states):
    """The scores of `methods.fanogan`."""
    del states
    kinds: dict[str, list[torch.Tensor]] = {}
    maps = []
    for net in nets["checkpoint"]:
      code = net.encode(image)
      x_hat = net.generator(code)
      critic = net.discriminator
      gap = critic.features(image) - critic.features(x_hat)
      maps.append(scores.error(image, x_hat, None))
      again = net.encode(x_hat)
      kinds.setdefault("latent", []).append(((code - again) ** 2).mean(1))
      kinds.setdefault("features", []).append((gap**2).mean(1))
    rec = torch.stack(maps).mean(0)
    found = {name: torch.stack(x).mean(0) for name, x in kinds.items()}
    found["rec"] = means(rec)
    found["izi_f"] = found["rec"] + self.method.kappa * found["features"]
    return Found(found, {"rec": rec})


def _whole(part: str, net: linen.Module, image: np.ndarray) -> Probe:
  """The pass of a net that sees images alone."""
  x = tensor(image)
  inputs = (jnp.asarray(image),)
  return Probe(part, net, inputs, _TEST, lambda net: net(like(x, net)))
