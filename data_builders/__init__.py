"""One TFDS builder a data set; `python -m data_builders.build` runs them."""
