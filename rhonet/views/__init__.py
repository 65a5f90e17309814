"""Views: the network's cubes of fixed size, from densities on any grid, by exact plane-wave sums in TensorFlow.

May import core, formats and data. One implementation serves training, evaluation, prediction and the exported model.
Start reading with render.py.
"""
