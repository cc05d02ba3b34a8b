"""What every channel layer owes its users, said once and run on each of them."""
