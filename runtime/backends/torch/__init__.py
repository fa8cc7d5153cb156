"""PyTorch, on the CPU, a GPU or an NPU."""
