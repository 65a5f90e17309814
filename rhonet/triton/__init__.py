"""Serving with NVIDIA's Triton: model repository, server, client."""
