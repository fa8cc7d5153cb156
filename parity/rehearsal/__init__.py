"""An NPU's arithmetic, rehearsed on the CPU."""
