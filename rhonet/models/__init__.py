"""Networks: encoders of the density cube, and the multi-output network around them."""
