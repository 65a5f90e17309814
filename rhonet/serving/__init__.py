"""A trained model leaves its run: SavedModel, card, ONNX, Triton, and the answers of an exported model.

Imports the wings up to training. Start with exported_model.py (what is written) and answer.py (what it says).
"""
