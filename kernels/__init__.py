"""Fast versions of ops, by name: `cpu/` in Numba, `cuda/` in CUDA C. Imports nothing of ours."""
