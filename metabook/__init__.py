"""Meta-learning in PyTorch."""
