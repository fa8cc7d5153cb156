"""What a bundle or model file declares: its spec, topology, stages, manifest and source."""
