"""Exported models: SavedModel, model card, ONNX files, Triton, and their answers.

Imports the wings up to training. Start with exported_model.py (what is exported) and answer.py (what a model says
about one density).
"""
