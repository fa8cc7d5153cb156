"""The landmark network in PyTorch.

Only the PyTorch backend, `export.graph.to_onnx` and `export.graph.inference_form` may import it.
"""

import os

# With torch_npu installed and CANN missing, plain `import torch` fails, because torch autoloads
# device backends. The NPU path imports torch_npu itself, so here autoload is held back, and only
# for the length of this import: the environment of the host process stays its own.
_AUTOLOAD = "TORCH_DEVICE_BACKEND_AUTOLOAD"
_before = os.environ.get(_AUTOLOAD)
os.environ[_AUTOLOAD] = "0"
try:
    import torch as torch
finally:
    if _before is None:
        del os.environ[_AUTOLOAD]
    else:
        os.environ[_AUTOLOAD] = _before
