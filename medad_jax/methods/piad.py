"""PIAD: an adversarial autoencoder judged by a classifier's features.

Paper: Tuluptceva et al., "Perceptual Image Anomaly Detection", ACPR 2019, arXiv
1909.05904, as in the code of DPA (Shvetsova et al., IEEE Access 2021). Scored:
"rec", the relative distance of image and reconstruction in VGG19's layers.

Two critics (WGAN-GP) see images beside decoded noise, and codes beside noise.
The encoder has the critic of codes against it and the decoder that of images;
both lower the distance, whose gradient is scaled to the size of theirs
(`Balance`). As DPA's code, and unlike the paper and its own code: the balance
is a median of ratios of norms, no critic compares the images of a batch, and
the nets are DPA's with one block a resolution. The smoothing starts anew from
the first measurement that is kept, whenever an older one has left.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, ClassVar

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
import numpy as np

from medad_jax import rng, steps, types
from medad_jax.methods import _net, _perceptual
from medad_jax.nets import residual
from medad_jax.ranges import Count, Depth, Draws, FixedShare, Width
from medad_jax.training import Length, Optimizer
from medad_jax.weights import residual_names

_PARTS = ("encoder", "decoder")


@dataclasses.dataclass(frozen=True)
class Balance:
  """The weights of the distance's gradient, one for each part of the net.

  A weight is the median ratio of the adversarial gradient's norm to the
  distance's, over the part's kernels and the measurements that are kept, after
  exponential smoothing of each kernel's norms.

  Attributes:
    every: steps between two measurements.
    kept: measurements that count.
    share: of a new measurement in the smoothed one.
  """

  every: Count = 100
  kept: Draws = 200
  share: FixedShare = 0.05

  def start(self, params: Any) -> Any:
    """No measurement and weights of 1, for the parts of a net."""

    # Measurements fill the rows from their start, so that the smoothing always
    # begins with the first one.
    def of_part(tree):
      none = jnp.zeros((len(kernels(tree)), self.kept))
      return {"adversarial": none, "distance": none, "weight": jnp.ones(())}

    found = {part: of_part(params[part]) for part in _PARTS}
    return found | {"count": jnp.zeros((), jnp.int32)}

  def measured(
    self, state: Any, adversarial: Any, distance: Any, due: Bool[Array, ""]
  ) -> Any:
    """The state after a measurement of two gradients, where it is due."""
    count = state["count"]
    now = jnp.minimum(count + 1, self.kept)
    # Computed in every step and used in few: under vmap a condition would
    # compute both branches, too.
    new = {
      part: self._part(
        state[part], adversarial[part], distance[part], count, now
      )
      for part in _PARTS
    } | {"count": now}
    return jax.tree.map(lambda a, b: jnp.where(due, a, b), new, state)

  def _part(self, state, adversarial, distance, count, now):
    grads = {"adversarial": adversarial, "distance": distance}
    kept = {
      name: self._appended(state[name], _norms(tree), count)
      for name, tree in grads.items()
    }
    weight = self.weight(kept["adversarial"], kept["distance"], now)
    return kept | {"weight": weight}

  def _appended(self, kept, norms, count):
    """The oldest measurement leaves where there is no room for another."""
    full = jnp.roll(kept, -1, axis=1)
    # The roll puts the oldest one last, where the newest takes its place.
    kept = jnp.where(count == self.kept, full, kept)
    at = jnp.minimum(count, self.kept - 1)
    return lax.dynamic_update_slice(kept, norms[:, None], (0, at))

  def weight(
    self,
    adversarial: Float[Array, "n t"],
    distance: Float[Array, "n t"],
    count: Int[Array, ""],
  ) -> Float[Array, ""]:
    """The weight from norms of kernels, in order of their measurement.

    Args:
      adversarial: norms of the adversarial gradient.
      distance: norms of the distance's gradient.
      count: of measurements that there are; later entries do not count.
    """
    smoothed = [self.smoothed(x) for x in (adversarial, distance)]
    there = jnp.arange(adversarial.shape[1]) < count
    # What is not there sorts behind everything else. It is divided by 1, as
    # there are no measurements of 0 to divide by.
    ratio = smoothed[0] / jnp.where(there, smoothed[1], 1)
    ratio = jnp.sort(jnp.where(there, ratio, jnp.inf), axis=None)
    total = count * adversarial.shape[0]
    # Of an even number NumPy's median is the mean of the two in the middle.
    return (ratio[(total - 1) // 2] + ratio[total // 2]) / 2

  def smoothed(self, values: Float[Array, "n t"]) -> Float[Array, "n t"]:
    """Exponential averages along the measurements, from the first one on."""
    places = np.arange(values.shape[1])
    age = places[None, :] - places[:, None]  # of entry [s, t], a time ago
    share = np.where(places == 0, 1, self.share)[:, None]
    # One product instead of a loop of so many small steps.
    weights = np.where(age < 0, 0, share * (1 - self.share) ** np.abs(age))
    weights = jnp.asarray(weights, values.dtype)
    return jnp.matmul(values, weights, precision="highest")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method(_perceptual.Perceptual):
  """Hyper-parameters of PIAD.

  Attributes:
    critic_channels: of the critic of images, read as the encoder's.
    latent_critic_channels: units of the critic of codes.
    critic_batches: fresh batches that the critics take before each step.
    balance: the weights of the distance's gradient.
    length: of the training.
    optimizer: of the autoencoder.
    critic: optimizer of each of the critics.
  """

  # As published for images of 64x64 and any set.
  channels: tuple[Width, ...] = (32, 64, 128, 256, 256)
  latent: Width = 256
  critic_channels: tuple[Width, ...] = (32, 64, 128, 128, 128)
  latent_critic_channels: tuple[Width, ...] = (1024, 1024)
  critic_batches: Depth = 2
  balance: Balance = Balance()
  length: Length = Length(steps=100_000, batch_size=32)
  optimizer: Optimizer = Optimizer(learning_rate=2e-4, b1=0.5, b2=0.99)
  critic: Optimizer = Optimizer(learning_rate=5e-4, b1=0.5, b2=0.99)

  depth: ClassVar[int] = 1  # "residual9"

  def phases(self):
    """ "features", then "train"."""
    (train,) = super().phases()
    train = dataclasses.replace(
      train,
      reads=("features",),
      inputs=types.Inputs(batches=self.critic_batches + 1),
      # The monitor would need VGG19; held-out images are not measured.
      monitors={},
    )
    return (self.features(self.layers), train)

  def files(self, shape):
    """An `anomaly_detection.tar` of each member, which may lack the critics."""
    (file,) = super().files(shape)
    critic = residual_names.encoder("ddis.", "critic")
    file = self.with_critic(file, "critic", critic)
    codes = residual_names.latent_critic(1 + len(self.latent_critic_channels))
    return (self.with_critic(file, "latent_critic", codes),)

  def init(self, key, image_shape):
    """ "net", "critic" and "latent_critic"; the balance."""
    params, _ = super().init(key, image_shape)
    # Each critic sees one kind of example, and its shape decides its layers.
    examples = {
      "critic": jnp.zeros((1, *image_shape)),
      "latent_critic": jnp.zeros((1, *self._code_shape)),
    }
    for name, example in examples.items():
      net = self._critics[name].init(rng.stream(key, name), example)
      params[name] = net["params"]
    return params, {"balance": self.balance.start(params["net"])}

  @property
  def _code_shape(self):
    return (self.latent_side, self.latent_side, self.latent)

  @property
  def _critics(self):
    return {
      "critic": residual.Encoder(self.critic_channels, 1, depth=self.depth),
      "latent_critic": residual.LatentCritic(self.latent_critic_channels),
    }

  def step(self):
    """The critics' turns, then the autoencoder's."""
    turns = (
      steps.Turn("critic", self.criticize_images, self.critic),
      steps.Turn("latent_critic", self.criticize_codes, self.critic),
    )
    return Iteration(self, steps.Critic(turns, (), self.critic_batches))

  def criticize_images(self, params, extra, batch, context, handed):
    """The critic's loss of images and decoded noise."""
    del handed
    real, noise = batch["image"], self.prior(batch, context)
    # Decoded noise and not reconstructions, which only the distance sees.
    fake = self.decode(params, noise, real)
    return self._criticize("critic", params, extra, real, fake, batch, context)

  def criticize_codes(self, params, extra, batch, context, handed):
    """The critic's loss of noise and codes."""
    del handed
    # The noise that the critic of images saw decoded: one draw a batch.
    real, fake = self.prior(batch, context), self.encode(params, batch["image"])
    name = "latent_critic"
    return self._criticize(name, params, extra, real, fake, batch, context)

  def _criticize(self, name, params, extra, real, fake, batch, context):
    loss, parts = _perceptual.criticize(
      lambda x: self.judge(name, params, x),
      real,
      fake,
      self.share(batch, context, name),
    )
    parts = {f"{name}_{part}": value for part, value in parts.items()}
    return loss, (extra, parts, None)

  def prior(
    self, batch: types.Batch, context: types.Context
  ) -> Float[Array, "b y y z"]:
    """Standard normal codes, by the example."""
    # By the batch's key, which both critics and the autoencoder ask once each.
    keys = rng.per_example(rng.stream(context.key, "prior"), batch["slot"])
    return jax.vmap(lambda key: jax.random.normal(key, self._code_shape))(keys)

  def judge(self, name: str, params: Any, x: Array) -> Float[Array, "b"]:
    """The numbers of a critic, by its name."""
    return self.judged(self._critics[name], params[name], x)

  def encode(
    self, params: Any, image: Float[Array, "b h h c"]
  ) -> Float[Array, "b y y z"]:
    """Codes of images."""
    # By itself, as codes of images and images of noise are asked apart.
    net = self.net(types.Axis()).encoder()
    own = {"net": params["net"]["encoder"]}
    return _net.apply(net, own, image, precision=self.precision)

  def decode(
    self,
    params: Any,
    code: Float[Array, "b y y z"],
    image: Float[Array, "b h h c"],
  ) -> Float[Array, "b h h c"]:
    """Images of codes, of the shape of others."""
    net = self.net(types.Axis()).decoder(image.shape[1:])
    own = {"net": params["net"]["decoder"]}
    return _net.apply(net, own, code, precision=self.precision)

  def losses(
    self, params: Any, batch: types.Batch, context: types.Context
  ) -> tuple[tuple[Float[Array, ""], Float[Array, ""]], types.Metrics]:
    """The distance and the sum of both adversarial losses, and their parts."""
    image, noise = batch["image"], self.prior(batch, context)
    code = self.encode(params, image)
    fake, x_hat = (self.decode(params, z, image) for z in (noise, code))
    distance = self.distance(context.own["features"], self.layers, image, x_hat)
    parts = {
      "image_adversarial": -jnp.mean(self.judge("critic", params, fake)),
      "latent_adversarial": -jnp.mean(
        self.judge("latent_critic", params, code)
      ),
      "reconstruction": jnp.mean(distance),
    }
    # The encoder is not in the one, and the decoder not in the other, so that
    # the gradient of the sum is each part's own.
    adversarial = parts["image_adversarial"] + parts["latent_adversarial"]
    return (parts["reconstruction"], adversarial), parts


@dataclasses.dataclass(frozen=True)
class Iteration:
  """The critics' turns on fresh batches, then the autoencoder's on another.

  Attributes:
    method: whose losses are taken.
    critics: the turns of the critics.
  """

  method: Method
  critics: steps.Critic

  def start(self, params: Any) -> Any:
    """The optimizers' states by part."""
    net = steps.transformation(self.method.optimizer).init(params["net"])
    return self.critics.start(params) | {"net": net}

  def __call__(
    self, state: types.TrainState, batch: types.Batch, context: types.Context
  ) -> tuple[types.TrainState, types.Metrics]:
    """See `types.Step`; "loss" is the distance, which the method scores by."""
    method, last = self.method, self.critics.batches
    # It counts the step, too.
    state, found = self.critics(state, batch, context)
    own = jax.tree.map(lambda x: x[last], batch)
    key = jax.random.fold_in(context.key, last)
    at = dataclasses.replace(context, key=key)

    def losses(net):
      return method.losses({**state.params, "net": net}, own, at)

    net = state.params["net"]
    # One forward pass, and a backward pass for each of the two losses.
    _, pull, parts = jax.vjp(losses, net, has_aux=True)
    one, none = jnp.ones(()), jnp.zeros(())
    (distance,), (adversarial,) = pull((one, none)), pull((none, one))
    # Of the whole batch: norms of parts of it would be other numbers.
    distance, adversarial, parts = context.axis.mean(
      (distance, adversarial, parts)
    )
    # Steps are counted from 1 here, and this one's batch is measured.
    due = (context.step + 1) % method.balance.every == 0
    balance = method.balance.measured(
      state.extra["balance"], adversarial, distance, due
    )
    weights = {part: balance[part]["weight"] for part in _PARTS}
    grads = balanced(weights, distance, adversarial)
    net, opt = steps.updated(method.optimizer, at, grads, state.opt["net"], net)
    state = dataclasses.replace(
      state,
      params={**state.params, "net": net},
      extra={**state.extra, "balance": balance},
      opt={**state.opt, "net": opt},
    )
    found = {**found, **parts, "loss": parts["reconstruction"]}
    return state, found | {f"{k}_weight": v for k, v in weights.items()}


def balanced(
  weights: Mapping[str, Float[Array, ""]], distance: Any, adversarial: Any
) -> Any:
  """Sums of both gradients; weights scale the distance's, of biases too."""
  return {
    part: jax.tree.map(
      lambda d, a, weight=weight: weight * d + a,
      distance[part],
      adversarial[part],
    )
    for part, weight in weights.items()
  }


def kernels(tree: Any) -> list[Array]:
  """All kernels of a part: what is measured, without biases."""
  paths = jax.tree_util.tree_leaves_with_path(tree)
  # Those of 1x1 convolutions on the skip branches, too.
  return [leaf for path, leaf in paths if path[-1].key == "kernel"]


def _norms(tree):
  return jnp.stack([jnp.sqrt(jnp.sum(x**2)) for x in kernels(tree)])
