"""rhonet: material properties from one physical field, the electron density ρ(r)."""

__version__ = "0.1.0"
