"""Figures of an evaluation, a training and a density, drawn with matplotlib and without a window.

Imports core, data, evaluation and its own style. Start with parity.py.
"""
