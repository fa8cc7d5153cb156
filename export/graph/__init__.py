"""The graph: from torch to ONNX, simplified, verified, measured."""
