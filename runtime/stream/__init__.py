"""A stream of pictures through the network, batched, in order."""

from runtime.stream.stream import Stream, StreamRow

__all__ = ["Stream", "StreamRow"]
