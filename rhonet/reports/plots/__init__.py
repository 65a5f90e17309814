"""Matplotlib figures of an evaluation, a training and a density; no window is opened.

Imports core, data, evaluation and its own style. Start with parity.py.
"""
