"""The conversion to .om by CANN's atc."""
