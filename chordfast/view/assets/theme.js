// Light and dark: the page's colours for canvases, read again when the preference changes.

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const theme = { dark: false };
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  theme.dark = prefersDark.matches;
  for (const name of ["page", "card", "ink", "soft", "line", "grid", "accent", "warn", "mild", "none", "head"])
    theme[name] = style.getPropertyValue("--" + name).trim();
  theme.chords = [];
  for (let root = 0; root < 12; root++)
    for (let family = 0; family < 4; family++) theme.chords.push(chordColour(root, family, theme.dark));
}
readTheme();

const byId = (id) => document.getElementById(id);

function labelColour(label) {
  const chord = chordOf(label);
  return chord.root < 0 ? theme.none : theme.chords[4 * chord.root + chord.family];
}

// A canvas that is as sharp as the screen: its context in CSS pixels, its size.
function fit(canvas, height) {
  const width = canvas.clientWidth, scale = devicePixelRatio || 1;
  if (height !== undefined && canvas.style.height !== `${height}px`) canvas.style.height = `${height}px`;
  const w = Math.round(width * scale), h = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, canvas.clientHeight);
  return { context, width, height: canvas.clientHeight };
}
