"""TFDS builder for the DFT crystals that come with rhonet."""
