"""The landmark network in PyTorch.

Only the PyTorch backend, `export.graph.to_onnx` and `export.graph.inference_form` may import it.
"""

import os

# What torch and its libraries read while they are imported; the environment of the host process
# stays its own afterwards.
#
# With torch_npu installed and CANN missing, plain `import torch` fails, because torch autoloads
# device backends. The NPU path imports torch_npu itself, so here autoload is held back.
_WHILE_IMPORTING = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
# libgomp's threads look 300,000 times for work before they sleep, on a core that the thread they
# wait for may need: beside other processes a call takes several times as long. 10,000 rounds still
# outlast the gaps between operators, so that nothing is lost where the cores are free.
if os.environ.keys().isdisjoint(("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")):
    _WHILE_IMPORTING["GOMP_SPINCOUNT"] = "10000"
_before = {name: os.environ.get(name) for name in _WHILE_IMPORTING}
os.environ.update(_WHILE_IMPORTING)
try:
    import torch as torch
finally:
    for _name, _value in _before.items():
        if _value is None:
            del os.environ[_name]
        else:
            os.environ[_name] = _value
