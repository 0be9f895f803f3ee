"""The embedded share of the loop. Nothing here imports torch."""
