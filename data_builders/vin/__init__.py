"""VinBigData chest radiographs."""
