"""Neural networks as torch modules, nothing else."""
