"""Training steps of RA, PIAD, f-AnoGAN and CutPaste in PyTorch.

The nets are the mirrors, which certify imported checkpoints; the steps are
written from the published methods (see `medad_jax/methods/`). Initial values
are PyTorch's own, as the time of a step does not depend on them. A step takes
batches [b 1 h w] in [-1, 1], which are fresh where the method asks for several.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
import torch.nn.functional as F

from benchmarks import torch_dpa
from benchmarks.protocol import Protocol
from medad_jax.mirrors import fanogan, introspective, residual, resnet

Place = Callable[[nn.Module], nn.Module]
Adam = Callable[..., torch.optim.Optimizer]


class Ra:
  """RA's two turns (Bercea et al., MIDL 2023), for images of gray.

  Args:
    protocol: the images' side.
    place: puts a net where it trains.
    adam: (parameters, rate, betas) -> optimizer.
  """

  batches = 1
  widths = (64, 128, 256, 512, 512)
  latent = 128
  rate = 5e-5

  def __init__(self, protocol: Protocol, place: Place, adam: Adam):
    made = introspective.Reversed(self.widths, self.latent, True, protocol.size)
    self.net = place(made).eval()  # statistics are never those of a batch
    self._scale = 1 / protocol.size**2
    self._encoder = adam(self.net.encoder.parameters(), self.rate)
    self._decoder = adam(self.net.decoder.parameters(), self.rate)

  def __call__(self, image: torch.Tensor) -> torch.Tensor:
    """Both turns; the encoder's loss."""
    image = (image + 1) / 2
    noise = torch.randn(6, len(image), self.latent, device=image.device)
    loss, code = self._encode(image, noise)
    _move(self._encoder, loss)
    _move(self._decoder, self._decode(image, code.detach(), noise))
    return loss

  def _encode(self, image, noise):
    net = self.net
    net.encoder.requires_grad_(True)
    net.decoder.requires_grad_(False)
    fake = net.decode(noise[0])
    mean, log_var, levels = self._coded(image)
    code = _drawn(mean, log_var, noise[1])
    x_hat = net.decode(code)
    of_rec, of_fake = self._coded(x_hat.detach()), self._coded(fake)
    rec_hat = net.decode(_drawn(*of_rec[:2], noise[2]))
    fake_hat = net.decode(_drawn(*of_fake[:2], noise[3]))
    error, divergence = _error(x_hat, image).mean(), _divergence(mean, log_var)
    near = self._near(_error(rec_hat, x_hat), *of_rec[:2])
    near = near + self._near(_error(fake_hat, fake), *of_fake[:2])
    loss = self._scale * (0.5 * error + divergence.mean()) + near / 4
    return loss + 0.005 * _apart(levels, of_rec[2]), code

  def _decode(self, image, code, noise):
    net = self.net
    net.encoder.requires_grad_(False)
    net.decoder.requires_grad_(True)
    fake, x_hat = net.decode(noise[0]), net.decode(code)
    of_rec, of_fake = net.encode(x_hat), net.encode(fake)
    rec_hat = net.decode(_drawn(*of_rec, noise[4]).detach())
    fake_hat = net.decode(_drawn(*of_fake, noise[5]).detach())
    cycle = _error(rec_hat, x_hat.detach()) + _error(fake_hat, fake.detach())
    error = 0.5 * (_error(x_hat, image) + 1e-8 * cycle / 2)
    divergence = _divergence(*of_rec) + _divergence(*of_fake)
    return self._scale * (error + divergence / 2).mean()

  def _coded(self, image):
    """Mean, log-variance and the levels' embeddings."""
    levels, x = [], image
    for layer in self.net.encoder.main:
      x = layer(x)
      if isinstance(layer, nn.AvgPool2d):
        levels.append(x)
    mean, log_var = self.net.encoder.fc(x.flatten(1)).chunk(2, 1)
    return mean, log_var, levels

  def _near(self, error, mean, log_var):
    distance = 0.5 * error + 128 * _divergence(mean, log_var)
    return torch.exp(-2 * self._scale * distance).mean()


class Piad:
  """PIAD's critics and its autoencoder (arXiv 1909.05904), as of DPA's code.

  It takes the arguments of `Ra`.
  """

  batches = 3  # two of the critics, one of the autoencoder
  channels = (32, 64, 128, 256, 256)
  critic_channels = (32, 64, 128, 128, 128)
  units = (1024, 1024)
  latent = 256
  every = 100  # steps between two measurements of the weights

  def __init__(self, protocol: Protocol, place: Place, adam: Adam):
    net = _residual(self.channels, self.latent, protocol.size)
    # A critic of images is an encoder to one number.
    critic = _residual(self.critic_channels, 1, protocol.size).enc
    self.net, self.critic = place(net).train(), place(critic).train()
    sizes = (self.latent, *self.units)
    layers: list[nn.Module] = []
    for given, made in zip(sizes, self.units, strict=False):
      layers += [nn.Linear(given, made), nn.LeakyReLU(0.2)]
    self.latent_critic = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
    self.latent_critic = place(self.latent_critic)
    self.features = place(torch_dpa.Features()).eval()
    self._adam = adam(self.net.parameters(), 2e-4, (0.5, 0.99))
    self._critics = [
      adam(critic.parameters(), 5e-4, (0.5, 0.99))
      for critic in (self.critic, self.latent_critic)
    ]
    self._weights, self._step = (1.0, 1.0), 0

  def __call__(self, *images: torch.Tensor) -> torch.Tensor:
    """The critics' turns, then the autoencoder's; its distance."""
    *first, last = images
    for image in first:
      self._criticize(image)
    return self._reproduce(last)

  def judge(self, image: torch.Tensor) -> torch.Tensor:
    """The critic of images."""
    return self.critic.model(image).flatten()

  def judge_code(self, code: torch.Tensor) -> torch.Tensor:
    """The critic of codes."""
    return self.latent_critic(code.flatten(1)).flatten()

  def _criticize(self, image):
    noise = self._noise(image)
    with torch.no_grad():
      fake, code = self.net.dec.model(noise), self.net.enc.model(image)
    losses = (
      criticize(self.judge, image, fake),
      criticize(self.judge_code, noise, code),
    )
    for optimizer, loss in zip(self._critics, losses, strict=True):
      _move(optimizer, loss)

  def _reproduce(self, image):
    code = self.net.enc.model(image)
    x_hat, fake = (self.net.dec.model(z) for z in (code, self._noise(image)))
    with torch.no_grad():
      real = self.features(image)
    distance = torch_dpa.distance(real, self.features(x_hat))
    adversarial = -self.judge(fake).mean() - self.judge_code(code).mean()
    parts = [list(p.parameters()) for p in (self.net.enc, self.net.dec)]
    params = [x for part in parts for x in part]
    of_distance = torch.autograd.grad(distance, params, retain_graph=True)
    of_critics = torch.autograd.grad(adversarial, params)
    self._step += 1
    if self._step % self.every == 0:
      self._measure(len(parts[0]), of_critics, of_distance)
    encoder = len(parts[0])
    for place, param in enumerate(params):
      weight = self._weights[place >= encoder]
      param.grad = weight * of_distance[place] + of_critics[place]
    self._adam.step()
    return distance.detach()

  def _measure(self, encoder, of_critics, of_distance):
    """Take the medians of the parameters' ratios as weights of both parts."""
    ratios = [
      (a.norm() / d.norm()).item()
      for a, d in zip(of_critics, of_distance, strict=True)
    ]
    self._weights = tuple(
      torch.tensor(part).median().item()
      for part in (ratios[:encoder], ratios[encoder:])
    )

  def _noise(self, image):
    shape = (len(image), self.latent, 1, 1)
    return torch.randn(shape, device=image.device)


class Fanogan:
  """A round of f-AnoGAN's GAN: the critic five times, the generator once.

  It takes the arguments of `Ra`.
  """

  batches = 6  # the generator only counts its own
  width = 64
  latent = 128

  def __init__(self, protocol: Protocol, place: Place, adam: Adam):
    levels = protocol.size.bit_length() - 2  # down to 4x4
    widths = [self.width * min(2**k, 8) for k in range(levels)]
    self.net = place(fanogan.Fanogan(widths, self.latent, 1)).train()
    self.generator, self.critic = self.net.generator, self.net.discriminator
    self._optimizers = [
      adam(net.parameters(), 1e-4, (0.0, 0.9))
      for net in (self.generator, self.critic)
    ]

  def __call__(self, *images: torch.Tensor) -> torch.Tensor:
    """A round; the last loss of the critic."""
    move_generator, move_critic = self._optimizers
    for image in images[:-1]:
      with torch.no_grad():
        fake = self.generator(self._codes(image))
      loss = criticize(lambda x: self.critic(x).flatten(), image, fake, 0.0)
      _move(move_critic, loss)
    self.critic.requires_grad_(False)
    value = self.critic(self.generator(self._codes(images[-1])))
    _move(move_generator, -value.mean())
    self.critic.requires_grad_(True)
    return loss

  def _codes(self, image):
    return torch.randn(len(image), self.latent, device=image.device)


class Cutpaste:
  """CutPaste's classifier of images and one view of each.

  A batch is shown twice, in place of images and views of them: what making
  views costs is on this project's side alone. It takes the arguments of `Ra`.
  """

  batches = 1
  width = 64

  def __init__(self, protocol: Protocol, place: Place, adam: Adam):
    del protocol, adam
    self.net = place(resnet.Projection(2, 1, self.width, 3)).train()
    self._optimizer = torch.optim.SGD(
      self.net.parameters(), 0.03, momentum=0.9, weight_decay=3e-5
    )

  def __call__(self, image: torch.Tensor) -> torch.Tensor:
    """A step; its loss."""
    both = image.expand(-1, 3, -1, -1).repeat(2, 1, 1, 1)
    label = torch.arange(2, device=image.device).repeat_interleave(len(image))
    loss = F.cross_entropy(self.net(both)[1], label)
    _move(self._optimizer, loss)
    return loss


# By the names of the methods.
STEPS: dict[str, Any] = {
  "ra": Ra,
  "piad": Piad,
  "fanogan": Fanogan,
  "cutpaste-2s": Cutpaste,
}


def criticize(
  critic: Callable[[torch.Tensor], torch.Tensor],
  real: torch.Tensor,
  fake: torch.Tensor,
  drift: float = 1e-3,
) -> torch.Tensor:
  """WGAN-GP's loss of a critic (Gulrajani et al., NeurIPS 2017).

  Args:
    critic: examples to one number each.
    real: examples.
    fake: others, without gradients.
    drift: weight of the squares of the critic's numbers.
  """
  share = torch.rand(len(real), *(1,) * (real.ndim - 1), device=real.device)
  between = (share * real + (1 - share) * fake).requires_grad_(True)
  (slope,) = torch.autograd.grad(
    critic(between).sum(), between, create_graph=True
  )
  penalty = (slope.flatten(1).norm(dim=1) - 1) ** 2
  of_real, of_fake = critic(real), critic(fake)
  loss = of_fake.mean() - of_real.mean() + 10 * penalty.mean()
  if drift:
    loss = loss + drift * ((of_real**2).mean() + (of_fake**2).mean())
  return loss


def _residual(channels, latent, side) -> residual.Autoencoder:
  """PIAD's net, with one block a resolution."""
  return residual.Autoencoder(channels, channels[::-1], latent, 1, 1, side, 1)


def _move(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
  optimizer.zero_grad()
  loss.backward()
  optimizer.step()


def _drawn(mean, log_var, noise):
  return mean + torch.exp(log_var / 2) * noise


def _error(x_hat, image):
  return ((x_hat - image) ** 2).sum((1, 2, 3))


def _divergence(mean, log_var):
  return -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1)


def _apart(levels, others):
  """The reversed embedding loss."""
  total = 0
  for a, b in zip(levels, others, strict=True):
    cosine = F.cosine_similarity(a.flatten(1), b.flatten(1))
    total = total + ((a - b) ** 2).mean() / 2 + (1 - cosine).mean()
  return total
