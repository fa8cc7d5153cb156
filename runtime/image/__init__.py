"""Pictures and geometry: reading, cropping, mapping points back, decoding and drawing them."""
