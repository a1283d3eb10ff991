"""Imports a pretrained network, once for all runs of this user.

  python -m medad_jax.weights vgg19 --source=vgg19-dcbb9e9d.pth
  python -m medad_jax.weights vgg19_r42 --download

Reads .pth (without PyTorch) and .safetensors files.
"""

import argparse
from pathlib import Path
import sys

from medad_jax import files
from medad_jax.types import UserError
from medad_jax.weights import catalog, importer


def main(argv: list[str] | None = None) -> int:
  """The command line; returns the exit status."""
  args = _parse(argv)
  try:
    if args.download:
      importer.download(args.name)
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
    "--source", type=Path, metavar="FILE", help="the file to import"
  )
  origin.add_argument(
    "--download", action="store_true", help="fetch the official file instead"
  )
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
