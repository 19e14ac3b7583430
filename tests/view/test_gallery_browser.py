"""The gallery in a real browser: 10 000 songs, sorting, filtering, links."""

from __future__ import annotations

import json
import time
from pathlib import Path

from browser import Browser
from written_pages import HOSTILE

from chordfast.view import write_gallery

SONGS = 10_000


def labelled_folder(root: Path, songs: int) -> Path:
    """A manifest of many songs; a handful of label files, which all rows share."""
    root.mkdir()
    for k in range(7):
        (root / f"{k}.lab").write_text("".join(f"{t} {t + 2} {'CDEFGAB'[(t + k) % 7]}:maj\n" for t in range(0, 80, 2)))
    (root / "0.html").write_text("<title>song page</title>")
    with open(root / "manifest.jsonl", "w") as manifest:
        for i in range(songs):
            row = {
                "path": f"artist {i % 97}/song {i}.mp3",
                "outcome": "timeout" if i % 1000 == 999 else "ok",
                "outputs": {"lab": f"{i % 7}.lab"},
                "seconds": 60 + (i * 7919) % 400,
                "confidence": None if i == 5 else (i * 31 % 1000) / 1000,
                "note": HOSTILE if i == 42 else "",
            }
            manifest.write(json.dumps(row) + "\n")
    return root


def test_ten_thousand_songs(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "labels" / "gallery.html"
    write_gallery(labelled_folder(tmp_path / "labels", SONGS), page)
    assert page.stat().st_size < 3_000_000
    began = time.monotonic()
    browser.open(page, dark=True)
    assert browser.js("byId('count').textContent").startswith("10,000 songs · ")
    assert time.monotonic() - began < 10
    assert browser.js("byId('rows').children.length") < 60
    assert browser.js("byId('rows').querySelector('a').textContent") == "artist 0/song 0.mp3"

    def column(name: str) -> list[str]:
        at = browser.js(f"COLUMNS.findIndex((c) => c.name === '{name}')")
        cells: list[str] = browser.js(f"[...byId('rows').children].map((r) => r.children[{at}].textContent)")
        return cells

    def sort(name: str) -> None:
        browser.js(f"byId('head').querySelector('[data-name={name}] button').click()")

    sort("confidence")
    assert column("confidence")[:2] == ["0.00", "0.00"]
    sort("confidence")
    assert column("confidence")[0] == "1.00"
    assert browser.js("document.querySelector('[aria-sort]').ariaSort") == "descending"
    browser.js("byId('scroll').scrollTop = 1e9")
    browser.wait("byId('rows').lastElementChild.ariaRowIndex === '10001'")
    assert column("confidence")[-1] == "–"  # unknown comes last either way
    sort("seconds")
    assert column("seconds")[0] == "1:00"
    milliseconds = browser.js("(() => { const t = performance.now(); arrange(); return performance.now() - t; })()")
    assert milliseconds < 1000
    sort("path")
    assert column("path")[:2] == ["artist 0/song 0.mp3", "artist 0/song 97.mp3"]  # numbers as numbers

    browser.js("byId('filter').focus()")
    browser.type("onerror")
    browser.wait("state.rows.length === 1")
    assert column("note") == [HOSTILE]
    browser.js(
        "byId('filter').value = ''; byId('outcome').value = 'timeout';byId('outcome').dispatchEvent(new Event('input'))"
    )
    assert browser.js("byId('count').textContent").startswith("10 of 10,000 songs")
    assert set(column("outcome")) == {"timeout"}
    assert browser.js("document.images.length") == 0
    assert browser.complaints == []


def test_links_lead_to_the_songs(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "labels" / "gallery.html"
    write_gallery(labelled_folder(tmp_path / "labels", 20), page)
    browser.open(page)
    browser.js("byId('rows').querySelector('a').click()")
    browser.wait("document.title === 'song page'")
