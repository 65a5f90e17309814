"""The generator of PBE-PAW crystals behind tools/generate_dft.py: candidates, ABINIT calculations, their analysis."""
