"""Training of the diffusion classifier."""
