"""Looking at labels: one self-contained page for a song, and an index page for a labelled folder. Imports no torch."""

from __future__ import annotations

from .gallery import gallery_page, write_gallery
from .song import song_page, write_song_page

__all__ = ["gallery_page", "song_page", "write_gallery", "write_song_page"]
