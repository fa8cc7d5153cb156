"""Many pictures: inputs, rows, formats, and a results folder that can be resumed."""
