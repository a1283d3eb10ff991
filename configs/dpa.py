"""DPA as its authors ran it (Shvetsova et al., IEEE Access 2021).

  python -m medad_jax.main --config=configs/dpa.py:cifar10/wo_pg/3
  python -m medad_jax.main --config=configs/dpa.py:nih_ap/pg
  python -m medad_jax.main --config=configs/dpa.py:camelyon16/wo_pg_with_L1/0.1
  python -m medad_jax.main --config=configs/dpa.py:phantom/wo_pg \
      --config.model.weights=random

The argument is SET/EXPERIMENT, and then the normal class of `cifar10` and
`svhn` or the weight of the added terms, 0.1 or 1. `wo_pg` is there for any set,
with nih_subset's net and length where the authors did not choose others.
`phantom/wo_pg` and `phantom/pg` are small ones, to try: images of 32x32,
relu3_2, batches of 16 and a few hundred steps.

Kept as published: `wo_pg` and `pg` of nih_ap are different nets; some classes
of svhn and nih_subset with L1 average two layers; the adversarial experiments
have a lower learning rate than the others and see three batches a step.
Not kept: `camelyon16/pg` saw one random crop of each patch throughout, which
--config.data.augment=once,crop,flip,flip_vertical does; here every step draws
another, as in the other experiments.
"""

from ml_collections import ConfigDict

from configs import _base

LAYERS = {
  "r12": "relu1_2",
  "r22": "relu2_2",
  "r32": "relu3_2",
  "r42": "relu4_2",
}
WIDE = (32, 64, 128, 256)
# By normal class: learning rate, steps, channels (one number for all four
# resolutions), layers.
CLASSES = {
  "cifar10": (
    (2e-3, 5666, 32, "r32"),
    (1e-2, 7333, 8, "r42"),
    (5e-3, 5000, 16, "r42"),
    (2e-4, 4666, WIDE, "r32"),
    (5e-3, 6666, 16, "r32"),
    (1e-2, 4666, 8, "r42"),
    (1e-3, 3666, (32, 64, 64, 64), "r32"),
    (1e-2, 7666, 8, "r42"),
    (1e-2, 8000, 8, "r42"),
    (1e-2, 5000, 8, "r42"),
  ),
  "svhn": (
    (2e-4, 25333, WIDE, "r42"),
    (5e-3, 16666, 16, "r32+r42"),
    (5e-3, 15333, 16, "r32+r42"),
    (2e-3, 9666, 32, "r42"),
    (5e-3, 10333, 16, "r32+r42"),
    (2e-3, 8333, 32, "r32+r42"),
    (2e-3, 7333, 32, "r32+r42"),
    (5e-3, 12000, 16, "r32+r42"),
    (5e-3, 6666, 16, "r42"),
    (1e-3, 18000, (32, 64, 64, 64), "r42"),
  ),
}
_SEVEN = (32, 32, 64, 64, 64, 64, 64)  # of which the encoder takes the last
_NIH_PG = ("r12", "r22", "r32")  # at 8x8, 16x16 and 32x32
EQUALIZED = ("nih_ap",)
# By set and experiment: learning rate, batch size, steps, channels, pixels a
# side of the code, layers at 64x64, and at smaller sides where the net grows.
# None are the layers of a loss of pixels alone.
EXPERIMENTS: dict[str, dict[str, tuple]] = {
  "camelyon16": {
    "pg": (1e-3, 128, 8666, (4,) * 4, 8, "r42", ("r32", "r32")),
    "wo_pg": (1e-3, 128, 34666, (4,) * 7, 8, "r42"),
    "wo_pg_unsupervised": (1e-4, 128, 77000, (64,) * 7, 16, "r42"),
    "wo_pg_L1_unsupervised": (2e-4, 128, 46000, (32,) * 7, 16, None),
  },
  "nih_ap": {
    "pg": (5e-4, 56, 7000, (32, 32, 64, 64, 64), 1, "r32", _NIH_PG),
    "wo_pg": (5e-4, 56, 27000, _SEVEN, 1, "r32"),
    "wo_pg_unsupervised": (5e-4, 56, 57666, _SEVEN, 4, "r32"),
    "wo_pg_L1_unsupervised": (5e-4, 56, 28333, _SEVEN, 4, None),
  },
  "nih_pa": {
    "pg": (1e-3, 128, 10000, (16,) * 5, 1, "r32", _NIH_PG),
    "wo_pg": (2e-3, 128, 33000, (16,) * 7, 1, "r32"),
    "wo_pg_unsupervised": (5e-4, 56, 64333, _SEVEN, 4, "r32"),
    "wo_pg_L1_unsupervised": (5e-4, 56, 31000, _SEVEN, 4, None),
  },
  "nih_subset": {
    "pg": (1e-3, 128, 3500, (16,) * 5, 1, "r42", _NIH_PG),
    "wo_pg": (2e-3, 128, 16000, (16,) * 7, 1, "r42"),
    "wo_pg_unsupervised": (5e-4, 56, 24333, _SEVEN, 4, "r42"),
    "wo_pg_L1_unsupervised": (5e-4, 56, 32333, _SEVEN, 4, None),
  },
}
# What is added to the loss of `wo_pg`.
ADDED = ("with_L1", "with_adversarial", "with_adversarial_L1")
WEIGHTS = ("0.1", "1")
RGB = ("cifar10", "camelyon16", "c16")
PATCH = 192  # pixels a side of Camelyon16's, of which training crops a part


def arguments() -> list[str]:
  """All published experiments."""
  classes = [f"{name}/wo_pg/{k}" for name in CLASSES for k in range(10)]
  plain = [f"{name}/{e}" for name, table in EXPERIMENTS.items() for e in table]
  added = [
    f"{name}/wo_pg_{term}/{weight}"
    for name in EXPERIMENTS
    for term in ADDED
    for weight in WEIGHTS
  ]
  return classes + plain + added


def get_config(argument: str = "phantom/wo_pg") -> ConfigDict:
  name, _, rest = argument.partition("/")
  experiment, _, last = rest.partition("/")
  if rest != "wo_pg" or name in (*CLASSES, *EXPERIMENTS):
    _base.check(argument, [*arguments(), "phantom/wo_pg", "phantom/pg"])
  config = _base.default("dpa", name)
  config.data.channels = 3 if name in RGB else 1
  if name == "phantom":
    _small(config, growing=experiment == "pg")
  elif name in CLASSES:
    if name == "svhn":
      config.data.preparation = "gray,resize:32"
    config.data.name = f"{name}:{last}"
    config.data.image_size = 32
    rate, steps, channels, layers = CLASSES[name][int(last)]
    channels = (channels,) * 4 if isinstance(channels, int) else channels
    _net(config, rate, 128, steps, channels, 1, layers)
  elif name in EXPERIMENTS:
    base, _, term = experiment.partition("_with_")
    _data(config, name, base)
    _net(config, *EXPERIMENTS[name][base])
    if term:
      _add(config, name, term, float(last))
  return config


def _data(config, name, base):
  if name == "camelyon16":
    config.data.stored_size = PATCH
    config.data.augment = "crop,flip,flip_vertical"
    return
  equalized = name in EQUALIZED and not base.endswith("unsupervised")
  between = "equalize," if equalized else ""
  config.data.preparation = f"gray,resize:300,crop:224,{between}resize:64"


def _net(config, rate, batch, steps, channels, side, layers, below=()):
  config.train.update(learning_rate=rate, batch_size=batch, steps=steps)
  config.model.channels = channels
  config.model.latent = channels[-1]
  config.model.latent_side = side
  if layers is None:
    config.model.perceptual_weight = 0.0
    config.model.l1_weight = 1.0
  else:
    config.model.layers = tuple(LAYERS[x] for x in layers.split("+"))
  if below:
    last = config.data.image_size
    config.growth.sides = tuple(last >> i for i in range(len(below), -1, -1))
    config.growth.layers = tuple(LAYERS[x] for x in below)


def _add(config, name, term, weight):
  if "L1" in term:
    config.model.l1_weight = weight
  if "adversarial" in term:
    config.model.adversarial_weight = weight
    config.train.learning_rate = 2e-4
  elif name == "nih_subset":
    config.model.layers = (LAYERS["r32"], LAYERS["r42"])


def _small(config, growing):
  config.data.image_size = 32
  below = ("r12", "r22") if growing else ()
  steps = 150 if growing else 400
  _net(config, 2e-3, 16, steps, (16,) * 4, 1, "r32", below)
  config.growth.update(transition_steps=100, stable_steps=100)
