"""The nets once more in PyTorch, to be compared with: needs the extra `torch`.

Written from the published architectures. Modules have the names that published
checkpoints use, and PyTorch's initial values. Images are [b c h w] in [-1, 1].
"""
