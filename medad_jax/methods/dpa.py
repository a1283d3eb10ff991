"""DPA: a deep autoencoder judged by a classifier's features.

Paper: Shvetsova et al., "Anomaly Detection in Medical Imaging with Deep
Perceptual Autoencoders", IEEE Access 2021, arXiv 2006.13265. Scored: "rec", the
relative distance of image and reconstruction in VGG19's layers.

The loss may hold L1 and L2 distances of pixels and an adversarial term, and the
net may grow by one resolution at a time (`growth`). As the official code:
features are divided by what its file calls variances, which are standard
deviations, so that no root is due; the optimizer starts anew at every stage;
modules of half the resolution are dropped once it has been faded out; with an
adversarial term each step takes `critic_batches` batches more.

Differs between the modes:
  length  "reference" takes `train.steps` or, for some numbers, one step more,
          as a sum in float64 decides (`_growth.final_steps`); "fixed" takes
          `train.steps`.
  score   with both L1 and an adversarial term, the official configuration of
          Camelyon16 asks for the perceptual distance alone, and the evaluation
          ignores it: "reference" scores with the training's loss of pixels and
          features, "fixed" with the features alone.
The official code ends when a loss exceeds 1e6; here a run ends when one is not
finite.
"""

import dataclasses
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import losses, rng, steps, types
from medad_jax.methods import _constraint, _growth, _net, _perceptual
from medad_jax.nets import residual
from medad_jax.ranges import Depth, FixedWeight
from medad_jax.training import Length, Optimizer
from medad_jax.weights import residual_names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method(_perceptual.Perceptual):
  """Hyper-parameters of DPA.

  Attributes:
    perceptual_weight: weight of the features' distance.
    l1_weight: weight of the mean absolute difference of pixels.
    l2_weight: weight of their mean squared difference.
    adversarial_weight: weight of a critic's opinion, 0 for no critic; its
      channels are the encoder's.
    critic_batches: fresh batches that the critic takes before each step.
    mode: "reference" for the published code's behavior, "fixed" without its
      mistakes (the module's docstring names them).
    growth: the resolutions that the net grows through.
    constraint: on the code, in the same weight as L1.
    length: of the last stage, the only one without growing.
    optimizer: of every stage, and of the critic.
  """

  perceptual_weight: FixedWeight = 1.0
  l1_weight: FixedWeight = 0.0
  l2_weight: FixedWeight = 0.0
  adversarial_weight: FixedWeight = 0.0
  critic_batches: Depth = 2
  mode: Literal["reference", "fixed"] = "reference"
  growth: _growth.Growth = _growth.Growth()
  constraint: _constraint.Constraint = _constraint.Constraint()
  length: Length = Length(steps=16_000, batch_size=128)
  optimizer: Optimizer = Optimizer(learning_rate=2e-3)

  depth: ClassVar[int] = 2  # "residual18"
  # An ensemble's members each have a predecessor of their own, which an
  # ensemble around this method could not provide.
  alone = (*_perceptual.Perceptual.alone, "growth")

  def __post_init__(self):
    super().__post_init__()
    if not self.perceptual_weight + self.l1_weight + self.l2_weight:
      raise types.UserError(
        "a loss without any distance was given; set model.perceptual_weight,"
        " model.l1_weight or model.l2_weight above 0."
      )
    if self.growth.sides and self.adversarial_weight:
      raise types.UserError(
        f"model.adversarial_weight={self.adversarial_weight} was given for a"
        " net that grows, and its critic would not; leave one of them out."
      )
    if self.constraint.is_on and (self.growth.sides or not self.l1_weight):
      raise types.UserError(
        f"constraint.mode={self.constraint.mode!r} was given, which is for a"
        " net that does not grow, in the weight of L1: set model.l1_weight"
        " above 0, and growth.sides to none."
      )

  def phases(self):
    """ "features" where they are compared, then the stages of growing.

    The last stage is called "train".
    """
    # One VGG19 for all stages, up to the deepest layer that any of them sees.
    layers = dict.fromkeys((*self.growth.layers, *self.layers))
    features = (self.features(tuple(layers)),) if self.perceptual_weight else ()
    read = tuple(stage.name for stage in features)
    found = (self._phase(stage, read) for stage in self.growth.stages())
    return (*features, *found)

  def files(self, shape):
    """An `anomaly_detection.tar` of each member, which may lack its critic."""
    if self.growth.sides:
      raise types.UserError(
        f"growth.sides={self.growth.sides} was given, but PyTorch's files hold"
        " the last resolution alone; set growth.sides and growth.layers to"
        " none, which is the same net."
      )
    (file,) = super().files(shape)
    if self.adversarial_weight:
      critic = residual_names.encoder("ddis.", "critic")
      file = self.with_critic(file, "critic", critic)
    return (self.constraint.beside(file),)

  def _phase(self, stage: _growth.Stage, read: tuple[str, ...]) -> types.Phase:
    def init(key, image_shape):
      return self._init(stage, key, image_shape)

    # The optimizer is not inherited: a stage's step makes a new one.
    def inherit(params, extra, own):
      return _growth.grafted(params, own[stage.before].params), extra

    # The critic's batches come first, the net's own is the last.
    adversarial = self.adversarial_weight > 0
    inputs = dataclasses.replace(
      self.constraint.inputs(), batches=1 + self.critic_batches * adversarial
    )
    return types.Phase(
      stage.name,
      self._length(stage),
      (types.NORMAL,) * self.members,
      self.constraint.init(init, self.latent),
      self._step(stage),
      inherit=inherit if stage.before else None,
      reads=(*read, stage.before) if stage.before else read,
      inputs=inputs,
      looped=self.looped,
      # More members leave the others as they are.
      made_of=dataclasses.replace(self, members=1),
    )

  def _length(self, stage):
    growth, length = self.growth, self.length
    if stage.name != "train":
      steps_ = stage.fading or growth.stable_steps
      return dataclasses.replace(length, steps=steps_)
    # Only a number of steps is added up, epochs are not the reference's.
    if self.mode == "reference" and length.steps is not None:
      more = _growth.final_steps(length.steps)
      return dataclasses.replace(length, steps=more)
    return length

  def _init(self, stage, key, image_shape):
    """ "net", and "critic" where there is one."""
    height, width, colors = image_shape
    if stage.side is not None:
      if {height, width} != {self.growth.sides[-1]}:
        raise types.UserError(
          f"growth.sides={self.growth.sides} was given for images of {height}x"
          f"{width}; let the last one be data.image_size."
        )
      height = width = stage.side
    image = jnp.zeros((1, height, width, colors))
    # Any value will do: it decides which modules there are.
    alpha = None if stage.fading is None else jnp.zeros(())
    # Modules are drawn by their names, so that a stage's new ones are its own.
    net = self.net(types.Axis())
    params = {
      "net": net.init(rng.stream(key, "net"), image, alpha)["params"],
    }
    if self.adversarial_weight:
      critic = self._critic.init(rng.stream(key, "critic"), image)
      params["critic"] = critic["params"]
    return params, {}

  @property
  def _critic(self):
    # An encoder whose code is one number.
    return residual.Encoder(self.channels, 1, depth=self.depth)

  def _step(self, stage):
    if not self.adversarial_weight:

      def loss(params, extra, batch, context):
        loss, parts, _ = self._reconstruct(stage, params, extra, batch, context)
        return loss, (extra, parts)

      return steps.Descend(loss, self.optimizer)
    return steps.Critic(
      (steps.Turn("critic", self.criticize, self.optimizer),),
      (steps.Turn("net", self.oppose, self.optimizer),),
      self.critic_batches,
    )

  def criticize(self, params, extra, batch, context, handed):
    """The critic's loss of images and their reconstructions."""
    del handed  # the critic's batches and the net's are different ones
    image = batch["image"]
    x_hat = self._apply(params, image)["x_hat"]
    share = self.share(batch, context, "penalty")
    loss, parts = _perceptual.criticize(
      lambda x: self.judge(params, x), image, x_hat, share
    )
    return loss, (extra, parts, None)

  def oppose(self, params, extra, batch, context, handed):
    """The autoencoder's loss: distances, and the critic's opinion."""
    del handed
    # A net with a critic does not grow.
    (stage,) = self.growth.stages()
    loss, parts, x_hat = self._reconstruct(stage, params, extra, batch, context)
    opinion = self.adversarial_weight * -jnp.mean(self.judge(params, x_hat))
    # Logged as it enters the loss, with its weight.
    parts |= {"adversarial": opinion, "reconstruction": loss}
    return opinion + loss, (extra, parts, None)

  def judge(
    self, params: Any, image: Float[Array, "b h w c"]
  ) -> Float[Array, "b"]:
    """The critic's numbers."""
    return self.judged(self._critic, params["critic"], image)

  def _apply(self, params, image, alpha=None):
    inputs = (image,) if alpha is None else (image, alpha)
    net = self.net(types.Axis())
    return _net.apply(net, params, *inputs, precision=self.precision)

  def _reconstruct(self, stage, params, extra, batch, context):
    """The mean distance, terms of the constraint, the reconstructions."""
    # None where nothing is faded: then neither images nor features are blended.
    progress = stage.progress(context.step)
    batch = self.constraint.mixed(batch, context)
    image = stage.image(batch["image"], progress)
    out = self._apply(params, image, progress)
    features = context.own.get("features")
    loss = self._distance(stage, progress, features, image, out["x_hat"])
    term, parts = self.constraint.term(
      params, extra, out["latent"], batch, context.axis
    )
    return jnp.mean(loss) + self.l1_weight * term, dict(parts), out["x_hat"]

  def _distance(self, stage, progress, features, image, x_hat):
    """Each image's distance in a stage [b]."""
    # What has no weight is not computed, as VGG19 may not be there.
    total = 0.0
    if self.perceptual_weight:
      found = self.distance(features, self._layers(stage.side), image, x_hat)
      if progress is not None and self.growth.smooth:
        # Faded from the loss of the stage before, at half the side.
        half = [_growth.shrunk(x, 2) for x in (image, x_hat)]
        layers = self._layers(stage.side // 2)
        before = self.distance(features, layers, *half)
        found = (1 - progress) * before + progress * found
      total += self.perceptual_weight * found
    if self.l1_weight:
      total += self.l1_weight * losses.absolute_error(x_hat, image)
    if self.l2_weight:
      total += self.l2_weight * losses.squared_error(x_hat, image)
    return total

  def _layers(self, side):
    # The last side's are the method's own, with growing or without.
    if side is None or side == self.growth.sides[-1]:
      return self.layers
    return (self.growth.layers[self.growth.sides.index(side)],)

  def map_of(self, features, image, x_hat):
    """The pixel map of the distances that training descends."""
    total = 0.0
    if self.perceptual_weight:
      relative = super().map_of(features, image, x_hat)
      total += self.perceptual_weight * relative
    # "fixed": what the configurations with both terms ask to be tested by.
    if (
      self.mode == "fixed"
      and self.perceptual_weight
      and self.adversarial_weight
    ):
      return total
    # Of pixels, whose means are the losses above.
    error = x_hat - image
    if self.l1_weight:
      total += self.l1_weight * jnp.mean(jnp.abs(error), -1)
    if self.l2_weight:
      total += self.l2_weight * jnp.mean(error**2, -1)
    return total
