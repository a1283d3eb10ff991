"""MADDR: one model for several organs and modalities (MICCAI 2023).

  python -m medad_jax.main --config=configs/maddr.py
  python -m medad_jax.main --config=configs/maddr.py:covid_ct,brain,rsna/memae
  python -m medad_jax.main --config=configs/maddr.py:covid_ct,brain,rsna/dpa \
      --config.constraint.mode=released

The argument is SETS/HOST or SETS/HOST/ABLATION. Sets are joined by commas, and
`phantom` stands for the generated heads and chests: smaller nets and few steps,
to try. Hosts are `dpa`, `memae`, `ganomaly` and `fanogan`, the last three with
the nets of their own authors. The ablations are `no_heads`, `no_center` and
`plain`, which has neither; one set alone is a separate model to compare with.
Organs and modalities are those that the sets name, or config.data.organ and
config.data.modality.

Every other reconstruction method with a code has the same section, such as
`--config=configs/reconstruction.py:covid_ct,brain/vae` with
`--config.constraint.mode=intended`.

The official code has the host `dpa` alone, and cannot run as it was released.
`constraint.mode` is "intended" here; "released" keeps its mistakes
(`medad_jax/methods/_constraint.py`). Images are mixed in steps 7001 to 10000 of
`dpa`; the learning rate falls at step 13000, as the official schedule stands
still while images are mixed. The other hosts keep their own lengths and mix no
images.
"""

from ml_collections import ConfigDict

from configs import _base

METHODS = {
  "dpa": "dpa",
  "memae": "memae_2d",
  "ganomaly": "ganomaly_original",
  "fanogan": "fanogan",
}
ABLATIONS = ("", "no_heads", "no_center", "plain")
GENERATED = "phantom,phantom_chest"
_CHANNELS = (16, 16, 16, 32, 32, 32, 64)  # DPA's encoder


def arguments(sets: str) -> list[str]:
  """All arguments of these sets: every host with every ablation."""
  ends = [f"/{name}" if name else "" for name in ABLATIONS]
  return [f"{sets}/{host}{end}" for host in METHODS for end in ends]


def get_config(argument: str = "phantom/memae") -> ConfigDict:
  sets, _, rest = argument.partition("/")
  host, _, ablation = rest.partition("/")
  _base.check(argument, arguments(sets))
  config = _base.default(
    METHODS[host], GENERATED if sets == "phantom" else sets
  )
  config.data.preparation = "gray,resize:300,crop:224,resize:64"
  _HOSTS[host](config)
  _constrain(config, ablation)
  if sets == "phantom":
    config.data.preparation = "stretch"
    _small(config, host)
  return config


def _constrain(config, ablation):
  if ablation == "plain":
    return
  config.constraint.mode = "intended"
  config.constraint.organ_width = 10
  config.constraint.modality_width = 10
  # As many as the three published sets have, or those of the example above.
  config.constraint.organs = 2
  config.constraint.modalities = 3
  if ablation == "no_heads":
    config.constraint.head_weight = 0.0
  if ablation == "no_center":
    config.constraint.center_weight = 0.0


def _dpa(config):
  config.model.channels = _CHANNELS
  config.model.decoder_channels = _CHANNELS[::-1]
  config.model.latent = 128
  config.model.layers = ("relu3_2", "relu4_2")
  config.model.l1_weight = 0.1
  config.train.batch_size = 32
  config.train.learning_rate = 1e-3
  config.train.steps = 16_000
  config.train.epoch_steps = 1000
  config.train.schedule.kind = "multistep"
  config.train.schedule.at = (13,)
  config.train.schedule.factor = 0.8
  config.constraint.mix_from = 7000
  config.constraint.mix_until = 10_000


def _own(config):
  """The host's own numbers."""
  del config


_HOSTS = {"dpa": _dpa, "memae": _own, "ganomaly": _own, "fanogan": _own}


def _small(config, host):
  config.data.image_size = 32
  config.constraint.organ_width = 4
  config.constraint.modality_width = 4
  config.train.batch_size = 32
  config.train.learning_rate = 1e-3
  if host == "dpa":
    config.model.channels = (16, 16, 16, 16)
    config.model.decoder_channels = ()
    config.model.latent = 32
    config.model.layers = ("relu2_2",)
    config.train.steps = 200
    config.train.epoch_steps = 50
    config.train.schedule.kind = "constant"
    config.constraint.mix_from, config.constraint.mix_until = 80, 120
  elif host == "memae":
    config.model.channels = (16, 32, 32)
    config.model.slots = 100
    config.model.threshold = 0.015
    config.train.epochs = 8
  elif host == "ganomaly":
    config.model.width = 16
    config.model.latent = 32
    config.train.epochs = 8
  else:
    config.model.width = 8
    config.model.latent = 32
    config.gan.steps = 300
    config.gan.batch_size = 16
    config.gan.learning_rate = 5e-4
    config.train.steps = 800
