"""PyTorch's names of the modules of each net: one table a net.

`conversion` turns `state_dict`s into variables and back by these tables.
DDAD-ASR (Cai et al., Medical Image Analysis 2023) and MedIAnomaly (Cai et al.,
Medical Image Analysis 2025) name the same autoencoder differently.
"""

from medad_jax.nets import inception, vgg
from medad_jax.nets.autoencoder import Bottleneck
from medad_jax.weights.conversion import (
  BATCH_NORM,
  CONV,
  CONV_TRANSPOSED,
  DENSE,
  MEMORY,
  NORM,
  POINTWISE,
  STATISTICS,
  UPSAMPLE,
  Kind,
  Module,
  Table,
)

_LEVELS = range(1, 5)  # of the autoencoders: four halvings


def ddad_autoencoder() -> Table:
  """DDAD-ASR's AE, AE-U and MemAE: `nets.autoencoder.Autoencoder`."""
  table = {}
  for i in range(4):
    table[f"encoder.{3 * i}"] = Module(f"encoder/Conv4x4s2_{i}", CONV)
    table[f"encoder.{3 * i + 1}"] = Module(f"encoder/BatchNorm_{i}", BATCH_NORM)
  for side, normalized in (("enc", "BatchNorm_4"), ("dec", "BatchNorm_0")):
    scope = f"{side}oder"
    table[f"linear_{side}.0"] = Module(f"{scope}/Dense_0", DENSE)
    table[f"linear_{side}.1"] = Module(f"{scope}/{normalized}", BATCH_NORM)
    table[f"linear_{side}.3"] = Module(f"{scope}/Dense_1", DENSE)
  table["mem_rep.memory"] = Module("memory", MEMORY)
  for i in range(4):
    table[f"decoder.{3 * i}"] = Module(
      f"decoder/ConvTranspose4x4s2_{i}", CONV_TRANSPOSED
    )
    table[f"decoder.{3 * i + 1}"] = Module(
      f"decoder/BatchNorm_{i + 1}", BATCH_NORM
    )
  return table


def ddad_refine() -> Table:
  """DDAD-ASR's refinement net: `nets.refine.RefineNet`."""
  table = {}
  for i in range(3):
    table[f"model.{3 * i}"] = Module(f"Conv3x3_{i}", CONV)
    table[f"model.{3 * i + 1}"] = Module(f"BatchNorm_{i}", BATCH_NORM)
  return table


def autoencoder(
  down_depth: int = 1, up_depth: int = 1, bottleneck: Bottleneck = "dense"
) -> Table:
  """MedIAnomaly's autoencoders: those of `nets.autoencoder`.

  Args:
    down_depth: convolutions a level of the encoder.
    up_depth: convolutions a level of the decoder.
    bottleneck: the layers around the code.
  """
  return {
    **_encoder("", "bottle_neck.", "encoder", down_depth, bottleneck),
    "bottle_neck.memory_module.memory": Module("memory", MEMORY),
    **_decoder("", "bottle_neck.", "decoder", up_depth, bottleneck),
  }


def ganomaly(down_depth: int = 1, up_depth: int = 1) -> Table:
  """MedIAnomaly's GANomaly: `nets.gan`, under "net" and "disc".

  Args:
    down_depth: convolutions a level of the encoders.
    up_depth: convolutions a level of the decoder and the discriminator.
  """
  first, second, decoder = (
    f"netg.{name}." for name in ("encoder1", "encoder2", "decoder")
  )
  plain: Bottleneck = "plain"
  return {
    **_encoder(first, first, "net/encoder", down_depth, plain),
    **_decoder(decoder, decoder, "net/decoder", up_depth, plain),
    **_encoder(second, second, "net/second_encoder", down_depth, plain),
    **_encoder("netd.", "netd.", "disc/encoder", up_depth, "none"),
    "netd.features.0": Module("disc/encoder/Dense_0", DENSE),
    "netd.classifier.0": Module("disc/Dense_0", DENSE),
  }


def unet(levels: int = 5) -> Table:
  """MedIAnomaly's denoising U-Net: `nets.unet.UNet`.

  Args:
    levels: resolutions, the first included.
  """
  table: dict[str, Module] = {}
  for level in range(levels):
    table |= _unet_block(f"down_path.{level}", f"ConvBlock_{level}")
  for level in range(levels - 1):
    torch, flax = f"up_path.{level}", f"ConvBlock_{levels + level}"
    table[f"{torch}.up"] = Module(f"UpSample_{level}", UPSAMPLE)
    table |= _unet_block(f"{torch}.conv_block", flax)
  return table | {"last": Module("Dense_0", POINTWISE)}


def encoder_decoder() -> Table:
  """MedIAnomaly's segmenter: `nets.encoder_decoder.EncoderDecoder`."""
  table = {
    **_resnet(),
    "nin.0": Module("reduce_0", CONV),
    "nin.2": Module("reduce_1", CONV),
  }
  for level in (1, 2, 3):
    for torch, flax, kind in (
      ("conv1", "transpose1", CONV_TRANSPOSED),
      ("bn1", "bn1", BATCH_NORM),
      ("conv2", "conv2", CONV),
      ("bn2", "bn2", BATCH_NORM),
      ("upsample.0", "transpose_shortcut", CONV_TRANSPOSED),
      ("upsample.1", "bn_shortcut", BATCH_NORM),
    ):
      table[f"uplayer{level}.0.{torch}"] = Module(f"up{level}/{flax}", kind)
  return table | {"convtranspose1": Module("transpose", CONV_TRANSPOSED)}


def projection(layers: int = 1) -> Table:
  """MedIAnomaly's classifier: `nets.projection.Projection`.

  Args:
    layers: of the head, without its last one.
  """
  table = _resnet("resnet18.", "resnet18/")
  for i in range(layers + 1):
    table[f"head.{3 * i}"] = Module(f"Dense_{i}", DENSE)
    table[f"head.{3 * i + 1}"] = Module(f"BatchNorm_{i}", BATCH_NORM)
  return table | {"out": Module("out", DENSE)}


def resnet18() -> Table:
  """Torchvision's ResNet18: `nets.resnet.ResNet18`."""
  return _resnet() | {"fc": Module("fc", DENSE)}


def inception_resnet_v2() -> Table:
  """pretrainedmodels' net: `nets.inception.InceptionResNetV2`."""
  repeats = {"block35": "repeat", "block17": "repeat_1", "block8": "repeat_2"}
  scopes = {name: name for name in (*inception.LAYERS, "block8")}
  for block, count in inception.residual_blocks().items():
    for i in range(count):
      scopes[f"{repeats[block]}.{i}"] = f"{block}_{i}"
  table = {}
  for theirs, ours in scopes.items():
    table[f"{theirs}.conv2d"] = Module(f"{ours}/conv2d", CONV)
    # At most four branches of three units; a net has some of them.
    units = [("", "")]
    for i in range(4):
      units.append((f".branch{i}", f"/branch{i}"))
      units += [(f".branch{i}.{j}", f"/branch{i}_{j}") for j in range(3)]
    for unit, path in units:
      table[f"{theirs}{unit}.conv"] = Module(f"{ours}{path}/conv", CONV)
      table[f"{theirs}{unit}.bn"] = Module(f"{ours}{path}/bn", BATCH_NORM)
  return table


def vgg19() -> Table:
  """Torchvision's VGG19 without its classifier: `nets.vgg.VGG19`."""
  return vgg_features(vgg.LAYERS)


def vgg_features(layers: tuple[str, ...]) -> Table:
  """Torchvision's VGG of these layers, without its classifier."""
  return {
    f"features.{i}": Module(name, CONV)
    for i, name in enumerate(layers)
    if name.startswith("conv")
  }


def vgg19_statistics(layer: str) -> Table:
  """Mean and scale of VGG19's channels on ImageNet.

  They are those of ninatu/anomaly_detection, which MedIAnomaly uses.

  Args:
    layer: the file's name of it, such as "r42" for relu4_2.
  """
  return {layer: Module("", STATISTICS)}


class _Numbered(dict[str, Module]):
  """A table of the modules in one scope, numbered by class as Flax does."""

  def __init__(self, scope: str):
    super().__init__()
    self._scope = scope
    self._count: dict[str, int] = {}

  def add(self, name: str, flax_class: str, kind: Kind) -> None:
    """Adds the module that runs next."""
    number = self._count.get(flax_class, 0)
    self._count[flax_class] = number + 1
    self[name] = Module(f"{self._scope}/{flax_class}_{number}", kind)

  def add_dense(self, name: str, bottleneck: Bottleneck) -> None:
    """Adds the layers on one side of the code."""
    dense = POINTWISE if bottleneck == "spatial" else DENSE
    if bottleneck == "none":
      return
    self.add(f"{name}.0", "Dense", dense)
    if bottleneck == "plain":  # PyTorch counts the activations, too
      self.add(f"{name}.2", "Dense", dense)
      return
    self.add(f"{name}.1", "BatchNorm", BATCH_NORM)
    self.add(f"{name}.3", "Dense", dense)


def _encoder(
  prefix: str, dense: str, scope: str, depth: int, bottleneck: Bottleneck
) -> Table:
  """`nets.autoencoder.Encoder`."""
  table = _Numbered(scope)
  for level in _LEVELS:
    for place in range(depth):
      layer = f"{prefix}en_block{level}.model"
      flax_class = "Conv3x3" if place else "Conv4x4s2"
      table.add(f"{layer}.{3 * place}", flax_class, CONV)
      table.add(f"{layer}.{3 * place + 1}", "BatchNorm", BATCH_NORM)
  table.add_dense(f"{dense}linear_enc", bottleneck)
  return table


def _decoder(
  prefix: str, dense: str, scope: str, depth: int, bottleneck: Bottleneck
) -> Table:
  """`nets.autoencoder.Decoder`."""
  table = _Numbered(scope)
  table.add_dense(f"{dense}linear_dec", bottleneck)
  for level in _LEVELS:
    layer = f"{prefix}de_block{level}.model"
    for place in range(depth - 1):
      table.add(f"{layer}.{3 * place}", "Conv3x3", CONV)
      table.add(f"{layer}.{3 * place + 1}", "BatchNorm", BATCH_NORM)
    last = 3 * (depth - 1)
    table.add(f"{layer}.{last}", "ConvTranspose4x4s2", CONV_TRANSPOSED)
    # Not after the image: the fourth level has none.
    table.add(f"{layer}.{last + 1}", "BatchNorm", BATCH_NORM)
  return table


def introspective(levels: int = 5, side: int = 128) -> Table:
  """RA's encoder and decoder: `nets.introspective`, under these names.

  Args:
    levels: halvings of the sides.
    side: of the images; PyTorch's names have the sides of the blocks' inputs.
  """
  table = {
    "encoder.main.0": Module("encoder/Conv5x5_0", CONV),
    "encoder.main.1": Module("encoder/BatchNorm_0", BATCH_NORM),
    "encoder.fc": Module("encoder/Dense_0", DENSE),
    "decoder.fc.0": Module("decoder/Dense_0", DENSE),
    "decoder.main.predict": Module("decoder/Conv5x5_0", CONV),
  }
  inputs = {
    "encoder": [side >> (level + 1) for level in range(levels)],
    "decoder": [side >> level for level in range(levels, -1, -1)],
  }
  for part, sides in inputs.items():
    for place, given in enumerate(sides):
      theirs, ours = f"{part}.main.res_in_{given}", f"{part}/Residual_{place}"
      table[f"{theirs}.conv_expand"] = Module(f"{ours}/Dense_0", POINTWISE)
      for i in (0, 1):
        table[f"{theirs}.conv{i + 1}"] = Module(f"{ours}/Conv3x3_{i}", CONV)
        table[f"{theirs}.bn{i + 1}"] = Module(
          f"{ours}/BatchNorm_{i}", BATCH_NORM
        )
  return table


def _unet_block(torch: str, flax: str) -> dict[str, Module]:
  """`nets.unet.ConvBlock`; PyTorch counts padding and activations, too."""
  return {
    f"{torch}.block.1": Module(f"{flax}/StandardizedConv3x3_0", CONV),
    f"{torch}.block.3": Module(f"{flax}/GroupNorm_0", NORM),
    f"{torch}.block.5": Module(f"{flax}/StandardizedConv3x3_1", CONV),
    f"{torch}.block.7": Module(f"{flax}/GroupNorm_1", NORM),
  }


def _resnet(torch: str = "", flax: str = "") -> dict[str, Module]:
  """`nets.resnet.stages`."""
  table = {
    f"{torch}conv1": Module(f"{flax}conv1", CONV),
    f"{torch}bn1": Module(f"{flax}bn1", BATCH_NORM),
  }
  for level in _LEVELS:
    for place in (0, 1):
      theirs = f"{torch}layer{level}.{place}"
      ours = f"{flax}layer{level}_{place}"
      for i in (1, 2):
        table[f"{theirs}.conv{i}"] = Module(f"{ours}/conv{i}", CONV)
        table[f"{theirs}.bn{i}"] = Module(f"{ours}/bn{i}", BATCH_NORM)
      table[f"{theirs}.downsample.0"] = Module(f"{ours}/downsample_0", CONV)
      table[f"{theirs}.downsample.1"] = Module(
        f"{ours}/downsample_1", BATCH_NORM
      )
  return table
