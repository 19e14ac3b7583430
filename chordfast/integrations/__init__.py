"""chordfast under other people's schedulers. Each module needs an extra of its own name: ``chordfast[ray]``."""
