"""Nothing but a place: with it pytest puts this folder on the path, so that tests can ``import backends``."""
