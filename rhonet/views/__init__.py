"""How a density of any grid becomes the network's cube: exact plane-wave sums in TensorFlow.

Imports core, formats and data. One implementation serves training, evaluation, prediction and the exported model.
Start with render.py.
"""
