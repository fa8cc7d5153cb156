"""An .om on an NPU, by pyACL."""
