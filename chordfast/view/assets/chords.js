"use strict";
// Chord labels: reading them, comparing them, short names, colours.

const LETTERS = { C: 0, D: 2, E: 4, F: 5, G: 7, A: 9, B: 11 };
const SHORT = {
  maj: "", min: "m", dim: "°", aug: "+", maj6: "6", min6: "m6", 7: "7", maj7: "maj7", min7: "m7", dim7: "°7",
  hdim7: "ø7", minmaj7: "m(maj7)", maj9: "maj9", min9: "m9", maj11: "maj11", min11: "m11", maj13: "maj13", min13: "m13",
};
const FAMILIES = [[/^(dim|hdim|o|°|ø|m7b5)/, 2], [/^(aug|sus|\+|5|1$)/, 3], [/^(min|m(?!aj)|-)/, 1], [/^\(b3/, 1]];

const parsed = new Map();
// {root: 0..11 or -1, family: 0 major 1 minor 2 diminished 3 other, short and brief name}
function chordOf(label) {
  let chord = parsed.get(label);
  if (!chord) parsed.set(label, (chord = readChord(label)));
  return chord;
}

function readChord(label) {
  const match = /^([A-G])([b#]*):?([^/]*)(.*)$/.exec(label);
  if (!match) return { root: -1, family: 0, short: label, brief: label };
  const [, letter, signs, quality, bass] = match;
  let root = LETTERS[letter];
  for (const sign of signs) root += sign === "#" ? 1 : -1;
  const [, name, degrees] = /^([^(]*)(.*)$/.exec(quality);
  const family = (FAMILIES.find(([pattern]) => pattern.test(quality)) || [0, 0])[1];
  const note = letter + signs.replace(/#/g, "♯").replace(/b/g, "♭");
  const short = note + (SHORT[name] ?? name) + degrees + bass, brief = note + ["", "m", "°", "…"][family];
  return { root: ((root % 12) + 12) % 12, family, short, brief };
}

// What two labels must share to be the same chord: a class, or the text where there is none.
function comparer(classes, qualities) {
  const known = new Map(Object.entries(classes));
  return (label) => {
    let key = known.get(label);
    if (key === undefined) {
      const match = /^([A-G][b#]*)(?::([a-z0-9]+))?$/.exec(label);
      const quality = match ? qualities.indexOf(match[2] || "maj") : -1;
      key = quality < 0 ? label : qualities.length * chordOf(label).root + quality;
      known.set(label, key);
    }
    return key;
  };
}

const LIGHTNESS = { dark: [0.55, 0.44, 0.37, 0.49], light: [0.83, 0.74, 0.68, 0.79] };
const CHROMA = [0.115, 0.1, 0.06, 0.07];
// Hue by the circle of fifths, so that related chords look related; lightness by family.
function chordColour(root, family, dark) {
  const hue = (((root * 7) % 12) * 30 + 25) % 360;
  return `oklch(${LIGHTNESS[dark ? "dark" : "light"][family]} ${CHROMA[family]} ${hue})`;
}

function clockText(seconds, digits = 0) {
  const unit = 10 ** digits, whole = Math.round(Math.max(0, seconds) * unit);
  const s = Math.floor(whole / unit), rest = digits ? "." + String(whole % unit).padStart(digits, "0") : "";
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(s / 3600), minutes = Math.floor(s / 60) % 60;
  return (hours ? `${hours}:${two(minutes)}` : minutes) + `:${two(s % 60)}` + rest;
}
