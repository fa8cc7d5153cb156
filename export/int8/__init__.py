"""Post-training quantisation to int8 within a budget of pixels."""
