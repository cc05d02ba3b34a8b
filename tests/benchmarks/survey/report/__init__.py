"""What the figures of a run come to: tables in the terminal, plots, and a page for the site."""
