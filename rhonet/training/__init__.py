"""One run: its folder, devices, training loop and checkpoints, and its progress on the terminal and in TensorBoard.

experiment.py holds what one training is made of: run, settings, data, devices. Imports the wings up to reports. Start
with runs.py (what a run folder holds) and trainer.py (the loop).
"""
