"""f-AnoGAN: a generator of healthy images, and an encoder that inverts it.

Paper: Schlegl et al., Medical Image Analysis 54 (2019). Trained: a Wasserstein
GAN with gradient penalty (Gulrajani et al., NeurIPS 2017), then an encoder for
the generator and the critic as they are, by the errors of images and of the
critic's features ("izi_f"). Scored, with x' = G(E(x)) and f the features:
  latent    mean (E(x) - E(x'))^2
  rec       mean (x - x')^2, whose pixels are the map
  features  mean (f(x) - f(x'))^2
  izi_f     rec + kappa * features

As the official code in TensorFlow 1: its batch normalization and optimizers,
whose formulas differ from PyTorch's. It begins with the critic, takes one
generator step after every five critic steps, and the generator's running
statistics follow its own steps alone. A step here is such a round, and its
batches are six, as the generator's takes one that it only counts. The official
code loses an image of every epoch, and scores full batches only; neither is so
here. It flips images at random in both stages, which is the data's augmentation
here, and trains seven epochs of critic steps; the encoder takes 50,000 steps.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import losses, rng, steps, types
from medad_jax.methods import _constraint, _net
from medad_jax.nets import fanogan as nets
from medad_jax.ranges import Draws, Members, Weight, Width
from medad_jax.scoring import discrepancy
from medad_jax.training import Length, Optimizer
from medad_jax.weights import gan_names, layout


@dataclasses.dataclass(frozen=True)
class Gan:
  """The training of generator and critic.

  Attributes:
    critic_steps: of the critic before each of the generator's.
    penalty_weight: weight of the gradient penalty.
    length: of the training, in steps of the generator.
    optimizer: of each of the two.
  """

  critic_steps: Draws = 5
  penalty_weight: Weight = 10.0
  # Passes over the images. A sixth of their batches is the generator's.
  length: Length = Length(epochs=7, batch_size=64)
  optimizer: Optimizer = Optimizer(
    "tf_adam", learning_rate=1e-4, b1=0.0, b2=0.9
  )


@dataclasses.dataclass(frozen=True)
class Method:
  """Hyper-parameters of f-AnoGAN.

  Attributes:
    width: channels of the largest resolution.
    latent: length of the code.
    kappa: weight of the features' error, in training and in the score.
    constraint: on the encoder's code, added to the image's error.
    members: GANs, each with an encoder of its own.
    precision: of the nets (`_net.py`).
    gan: the training of generator and critic.
    length: of the encoder's training.
    optimizer: of the encoder.
  """

  width: Width = 64
  latent: Width = 128
  kappa: Weight = 1.0
  members: Members = 1
  precision: _net.Precision = "float32"
  gan: Gan = Gan()
  constraint: _constraint.Constraint = _constraint.Constraint()
  # In steps, as the official encoder is trained, whatever the data's size.
  length: Length = Length(steps=50_000, batch_size=64)
  optimizer: Optimizer = Optimizer(
    "tf_rmsprop", learning_rate=5e-5, b2=0.9, eps=1e-10, momentum=0.0
  )

  score_names = ("latent", "rec", "features", "izi_f")

  def phases(self):
    """ "gan", then "train", the encoder of each GAN."""
    count = self.gan.critic_steps
    pools = (types.NORMAL,) * self.members
    one = dataclasses.replace(self, members=1)
    gan = types.Phase(
      "gan",
      self.gan.length,
      pools,
      self.init_gan,
      steps.Critic(
        (steps.Turn("critic", self.criticize, self.gan.optimizer),),
        (steps.Turn("generator", self.generate, self.gan.optimizer),),
        count,
      ),
      inputs=types.Inputs(batches=count + 1),
      # Their convolutions are XLA's, as the penalty differentiates twice.
      looped=False,
      # Neither kappa nor a constraint changes the GAN: runs that differ in
      # them can take it over.
      made_of=(self.width, self.latent, self.precision, self.gan),
    )
    encoder = types.Phase(
      "train",
      self.length,
      pools,
      self.constraint.init(self.init, self.latent),
      steps.Descend(self.loss, self.optimizer),
      reads=("gan",),
      inputs=self.constraint.inputs(),
      looped=False,
      made_of=one,
    )
    return (gan, encoder)

  def files(self, shape: tuple[int, int, int]) -> tuple[layout.File, ...]:
    """One file of each member, of both stages; see `layout.Published`."""
    del shape
    file = layout.model(gan_names.fanogan(), self.members)
    return (self.constraint.beside(file),)

  def init_gan(self, key, image_shape):
    """ "generator" and "critic"."""
    code = jnp.zeros((1, self.latent))
    params, extra = _net.init(
      self._generator(types.Axis(), image_shape),
      rng.stream(key, "generator"),
      code,
    )
    image = jnp.zeros((1, *image_shape))
    critic = nets.Critic(self.width).init(rng.stream(key, "critic"), image)
    return (
      {"generator": params["net"], "critic": critic["params"]},
      {"generator": extra["net"]},
    )

  def init(self, key, image_shape):
    """The encoder, under "net"."""
    image = jnp.zeros((1, *image_shape))
    return _net.init(self._encoder(types.Axis()), key, image)

  def criticize(self, params, extra, batch, context, handed):
    """The critic's loss, with codes and shares of its own at every step."""
    del handed
    keys = rng.per_example(rng.stream(context.key, "share"), batch["slot"])
    share = jax.vmap(jax.random.uniform)(keys)
    code = self._codes(batch, context)
    image = batch["image"]
    # Draws apart from the loss, so that tests can give their own.
    loss, metrics = self.critic_loss(params, extra, image, code, share, context)
    return loss, (extra, metrics, None)

  def critic_loss(
    self,
    params,
    extra,
    image: Float[Array, "b h w c"],
    code: Float[Array, "b z"],
    share: Float[Array, "b"],
    context: types.Context,
  ) -> tuple[Float[Array, ""], types.Metrics]:
    """The value of fakes over that of images, and the gradient penalty.

    Args:
      params: of "generator" and "critic".
      extra: of the generator.
      image: the real ones.
      code: of the fakes.
      share: of the image where slopes are measured, the rest is the fake's.
      context: of the step.
    """
    # The new statistics are dropped: they follow the generator's steps.
    fake, _ = self._fake(params, extra, code, image.shape[1:], context)

    def value(x):
      return self._judge(params["critic"], x)[0]

    # No epsilon in the root of the norm, as in the official code.
    penalty = losses.gradient_penalty(value, image, fake, share)
    parts = {
      "critic_fake": jnp.mean(value(fake)),
      "critic_real": jnp.mean(value(image)),
      "gradient_penalty": jnp.mean(penalty),
    }
    loss = parts["critic_fake"] - parts["critic_real"]
    return loss + self.gan.penalty_weight * parts["gradient_penalty"], parts

  def generate(self, params, extra, batch, context, handed):
    """The generator's loss, with new codes."""
    del handed
    code, shape = self._codes(batch, context), batch["image"].shape[1:]
    loss, extra = self.generator_loss(params, extra, code, shape, context)
    return loss, (extra, {}, None)

  def generator_loss(self, params, extra, code, image_shape, context):
    """The negative value of the images of these codes [b z]; statistics."""
    fake, new = self._fake(params, extra, code, image_shape, context)
    # The gradient passes through the critic, which does not move in this turn.
    value, _ = self._judge(params["critic"], fake)
    return -jnp.mean(value), {**extra, "generator": new}

  def loss(self, params, extra, batch, context):
    """The encoder's loss: errors of the image and of its features."""
    batch = self.constraint.mixed(batch, context)
    image = batch["image"]
    code, new = _net.train(
      self._encoder(context.axis),
      params,
      extra,
      image,
      precision=self.precision,
    )
    term, parts = self.constraint.term(params, extra, code, batch, context.axis)
    # The member's own GAN, as its first stage left it.
    x_hat, features = self._compared(context.own["gan"], image, code)
    metrics = {
      "error": jnp.mean(losses.squared_error(x_hat, image)),
      "features": jnp.mean(features),
      **parts,
    }
    # The constraint stands beside the image's error, of weight 1.
    loss = metrics["error"] + term + self.kappa * metrics["features"]
    return loss, ({**extra, **new}, metrics)

  def predict(self, states, batch):
    """ "x_hat", "latent", and the errors [b] of features and codes."""
    image = batch["image"]
    code = self.encode(states["train"], image)
    x_hat, features = self._compared(states["gan"], image, code)
    again = self.encode(states["train"], x_hat)
    return {
      "x_hat": x_hat,
      "latent": code,
      "features": features,
      "gap": jnp.mean((code - again) ** 2, -1),
    }

  def score(self, preds, batch, fitted):
    """The scores of the module's docstring, as means over members."""
    del fitted
    # Every member has features of its own, so that errors are averaged and not
    # reconstructions.
    maps = jax.vmap(discrepancy.error_map, (None, 0, None))(
      batch["image"], preds["x_hat"], None
    )
    rec = jnp.mean(maps, 0)
    features = jnp.mean(preds["features"], 0)
    image = {
      "latent": jnp.mean(preds["gap"], 0),
      "rec": discrepancy.image_score(rec),
      "features": features,
    }
    image["izi_f"] = image["rec"] + self.kappa * features
    return types.Scores(image, {"rec": rec}, jnp.mean(preds["x_hat"], 0))

  def encode(
    self, state: types.TrainState, image: Float[Array, "b h w c"]
  ) -> Float[Array, "b z"]:
    """Codes of images, with the running statistics."""
    net = self._encoder(types.Axis())
    return _net.test(
      net, state.params, state.extra, image, precision=self.precision
    )

  def _compared(self, gan, image, code):
    """The codes' images, and the error [b] of the critic's features."""
    # With the running statistics, also while the encoder is trained.
    x_hat = _net.test(
      self._generator(types.Axis(), image.shape[1:]),
      {"net": gan.params["generator"]},
      {"net": gan.extra["generator"]},
      code,
      precision=self.precision,
    )
    # One after the other: gradients pass through the second alone.
    _, wanted = self._judge(gan.params["critic"], image)
    _, found = self._judge(gan.params["critic"], x_hat)
    return x_hat, jnp.mean((found - wanted) ** 2, -1)

  def _fake(self, params, extra, code, image_shape, context):
    """Images of codes in training, and the generator's new statistics."""
    fake, new = _net.train(
      self._generator(context.axis, image_shape),
      {"net": params["generator"]},
      {"net": extra["generator"]},
      code,
      precision=self.precision,
    )
    return fake, new["net"]

  def _judge(self, critic, image):
    """Values [b] and features [b m] of images."""
    net = nets.Critic(self.width)
    return _net.apply(net, {"net": critic}, image, precision=self.precision)

  def _codes(self, batch, context) -> Float[Array, "b z"]:
    # By place in the global batch, so that devices change nothing.
    keys = rng.per_example(rng.stream(context.key, "code"), batch["slot"])
    return jax.vmap(lambda key: jax.random.normal(key, (self.latent,)))(keys)

  def _generator(self, axis, image_shape):
    side, _, channels = image_shape
    return nets.Generator(side, channels, self.width, axis)

  def _encoder(self, axis):
    return nets.Encoder(self.latent, self.width, axis)
