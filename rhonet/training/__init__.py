"""One run: its folder, devices, loop and checkpoints, and what a person sees of it.

Imports the wings up to reports. Start with runs.py (what a run folder holds) and trainer.py (the loop).
"""
