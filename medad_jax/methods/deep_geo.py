"""Deep-GEO: a classifier of geometric transformations, and its certainty.

Paper: Golan and El-Yaniv, NeurIPS 2018, arXiv 1805.10917, as Shvetsova et al.
compare with it (IEEE Access 2021, arXiv 2006.13265). Scored: minus the log
density of the classifier's probabilities. Each of the 72 transformations has a
Dirichlet distribution, which is fitted to the training images.
"""

import dataclasses
from typing import Literal

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import optax

from medad_jax import steps, types
from medad_jax.augment import transformations
from medad_jax.methods import _net
from medad_jax.nets.wide_resnet import WideResNet
from medad_jax.ranges import Depth, Pixels, Width
from medad_jax.scoring import dirichlet, monitors
from medad_jax.training import Length, Optimizer

_CLIP = 1e-7  # Keras's epsilon: of probabilities in the loss


@dataclasses.dataclass(frozen=True)
class Method:
  """Hyper-parameters of Deep-GEO; the defaults are those for 32x32 images.

  Attributes:
    blocks: of each of the Wide ResNet's three groups: 1 is WRN-10, 2 WRN-16.
    width: the Wide ResNet's factor of channels.
    translation: pixels by which images are translated.
    mode: "reference" takes over two traits of Keras 2.3 on TensorFlow 1.13:
      Adam's bias correction is always one step ahead, and running variances are
      made unbiased twice. "fixed" has neither.
    precision: of the net (`_net.py`).
    length: passes over all pairs of an image and a transformation.
    optimizer: of the classifier; its decay is twice the published factor of
      the penalty on squared parameters.
  """

  blocks: Depth = 1
  width: Width = 4
  translation: Pixels = 8
  mode: Literal["reference", "fixed"] = "reference"
  precision: _net.Precision = "float32"
  length: Length = Length(epochs=3, batch_size=128, drop_last=False)
  optimizer: Optimizer = Optimizer(
    "tf_adam", learning_rate=1e-3, eps=1e-7, weight_decay=5e-4
  )

  score_names = ("dirichlet",)

  def phases(self):
    """ "train", the classifier, then "dirichlet"."""
    # Keras's Adam is one step ahead only in the published runs.
    step = _Ahead if self.mode == "reference" else steps.Descend
    pools = (types.NORMAL,)
    phase = types.Phase(
      "train",
      self.length,
      pools,
      self.init,
      step(self.loss, self.optimizer),
      # All pairs are shuffled together, as they were when all 72 were stored.
      inputs=types.Inputs(copies=transformations.COUNT),
      monitors={"validation_loss": monitors.mean(self.validate)},
      # XLA's convolutions with gradients are several times slower inside a loop
      # on CPUs.
      looped=False,
    )
    fit = types.Fit(
      "dirichlet", pools, self.probabilities, estimate, reads=("train",)
    )
    return (phase, fit)

  def init(self, key, image_shape):
    """Parameters and running statistics of the net, under "net"."""
    net = self.net(types.Axis())
    return _net.init(net, key, jnp.zeros((1, *image_shape)))

  def net(self, axis: types.Axis) -> WideResNet:
    """The classifier of transformations."""
    return WideResNet(
      axis,
      transformations.COUNT,
      self.blocks,
      self.width,
      # The kernel's and Keras's own: of 8x8 pixels and 128 images, a factor of
      # 1.0001.
      corrections=2 if self.mode == "reference" else 1,
    )

  def loss(self, params, extra, batch, context):
    """Cross-entropy of the transformations; see `types.Loss`."""
    logits, extra = _net.train(
      self.net(context.axis),
      params,
      extra,
      transformations.transform(
        batch["image"], batch["copy"], self.translation
      ),
      precision=self.precision,
    )
    return jnp.mean(cross_entropy(logits, batch["copy"])), (extra, {})

  def logits(self, state, image, number):
    """The trained net's logits [b 72] of images under one transformation."""
    numbers = jnp.full(len(image), number)
    seen = transformations.transform(image, numbers, self.translation)
    return _net.test(
      self.net(types.Axis()),
      state.params,
      state.extra,
      seen,
      precision=self.precision,
    )

  def probabilities(self, states, batch):
    """[b t 72]: the classifier's view of each image under each t."""
    logits = self._all_logits(states["train"], batch["image"])
    return jax.nn.softmax(logits)

  def validate(self, state, batch, key):
    """Each image's loss, the mean over all transformations."""
    del key
    logits = self._all_logits(state, batch["image"])
    numbers = jnp.arange(transformations.COUNT)
    return {
      "loss": jnp.mean(jax.vmap(cross_entropy, (0, None))(logits, numbers), 1)
    }

  def _all_logits(self, state, image):
    # One after another: 72 views of a batch at once would take 72 times the
    # memory of the net's layers.
    numbers = jnp.arange(transformations.COUNT)
    found = lax.map(lambda number: self.logits(state, image, number), numbers)
    return jnp.moveaxis(found, 0, 1)

  def predict(self, states, batch):
    """ "dirichlet" [b], minus the normality."""
    alpha = states["dirichlet"].params["alpha"]
    found = self.probabilities(states, batch)
    return {"dirichlet": -dirichlet.log_density(alpha, found)}

  def score(self, preds, batch, fitted):
    """ "dirichlet": the only member's."""
    del batch, fitted
    return types.Scores({"dirichlet": jnp.mean(preds["dirichlet"], 0)}, {})


def cross_entropy(logits, label):
  """Keras's categorical cross-entropy [b], of clipped probabilities."""
  probabilities = jnp.clip(jax.nn.softmax(logits), _CLIP, 1 - _CLIP)
  chosen = jnp.take_along_axis(probabilities, label[:, None], 1)
  return -jnp.log(chosen[:, 0])


def estimate(batches):
  """The Dirichlet distributions of a stream of probabilities [n t 72]."""
  found = dirichlet.fit(dirichlet.means(batches))
  return {"alpha": found.alpha.astype(np.float32)}


class _Ahead(steps.Descend):
  """Descent whose Adam corrects each step's bias as if it were the next one.

  Keras 2.3.1 on TensorFlow 1.13 reads its counter after it was incremented, so
  that the first step moves a weight by 0.74 of the learning rate.
  """

  def start(self, params):
    """The optimizer's state, its counter at 1."""
    opt = super().start(params)
    if not self.optimizer.algorithm.endswith("adam"):
      return opt  # the others correct nothing
    return optax.tree_utils.tree_set(opt, count=jnp.ones((), jnp.int32))
