"""The contract of channel layers, checked on our layers and on others: `hatch run contract`."""
