"""Named spaces of `python -m medad_jax.search`: values by field.

Fields with "+" between change together. The authors of DPA and PIAD publish
what they selected and not what they searched (Shvetsova et al., IEEE Access
2021): these are grids of the values that occur among the selected ones.
"""

# Encoders take the last entries that they need, so seven suit all sides.
_WIDTHS = (4, 8, 16, 32, 64)
_LAYERS = (("relu3_2",), ("relu4_2",))
_LARGE = ((32, 64, 128, 256, 256), 256, (1024, 1024))
_SMALL = ((32, 64, 128, 128, 128), 128, (512, 512))

SPACES = {
  # With --stop=early and --every=1000, as published.
  "dpa": {
    "train.learning_rate": (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2),
    "model.channels+model.latent": tuple(((w,) * 7, w) for w in _WIDTHS)
    + (((32, 64, 64, 64), 64), ((32, 64, 128, 256), 256)),
    "model.layers": _LAYERS,
  },
  "dpa_rates": {
    "train.learning_rate": (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
  },
  # With --stop=best and --every=10000, as published.
  "piad": {
    "model.channels+model.critic_channels+model.latent"
    "+model.latent_critic_channels": tuple(
      (channels, channels, latent, critic)
      for channels, latent, critic in (_LARGE, _SMALL)
    ),
    "model.layers": _LAYERS,
  },
  # Epochs alone, chosen along one run: --stop=best, validation.every=1.
  "deep_geo": {"train.learning_rate": (1e-3,)},
  "deep_if": {
    "model.layer": (
      "concat",
      "conv2d_1a",
      "conv2d_2a",
      "conv2d_2b",
      "maxpool_3a",
      "conv2d_3b",
      "conv2d_4a",
      "maxpool_5a",
      "mixed_5b",
      "mixed_6a",
      "mixed_7a",
      "conv2d_7b",
    ),
  },
}
