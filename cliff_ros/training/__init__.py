"""Training of the embedded network and detector on the synthetic world."""
