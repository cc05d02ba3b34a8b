"""Hold messages of this process until their consumers take them."""
