"""Exported models: SavedModel, model card, ONNX files, Triton, and their answers.

exported_model.py writes and loads the SavedModel, export.py fills a whole model folder, onnx_export.py adds the ONNX
files. Imports the wings up to training. Start with exported_model.py and answer.py (what a model says about one
density).
"""
