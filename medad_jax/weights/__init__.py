"""Weights in files: PyTorch's and safetensors', and pretrained networks."""
