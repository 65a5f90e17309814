"""TensorFlow Datasets builders of rhonet: any folder of densities, and the bundled crystals."""
