"""The contract of channel layers, tested on each of them."""
