// Keys, buttons, the table at the playhead, and when to draw.

function say(text, bad = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("bad", bad);
}

let scheduled = false;
function redraw(now = false) {
  if (now) return draw();
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    draw();
  });
}
function draw() {
  if (playing()) {
    advance();
    if (!shown.drag && editing < 0) reveal(player.position);
    redraw();
  } else if (player.element?.ended) player.position = Math.min(player.element.currentTime, song.duration);
  drawView();
  drawMap();
  showControls();
  showNow();
}

function put(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}
function showControls() {
  put("play", playing() ? "Pause" : "Play");
  put("clock", `${clockText(player.position, 1)} / ${clockText(song.duration, 1)}`);
  put("left", edit.doubtful.length ? `${edit.doubtful.length} left` : strips.length ? "none left" : "");
  byId("loop").setAttribute("aria-pressed", String(player.loop !== null));
  byId("undo").disabled = !edit.done.length;
  byId("next").disabled = byId("previous").disabled = !edit.doubtful.length;
}

// Labels that can be taken for the segment at the playhead, in the order of their keys 1 ... 9.
let choices = [];
let nowShown = "";
function showNow() {
  const at = indexAt(edit.segments, player.position);
  const rows = [["corrected", edit.segments[at]], ...strips.map((strip) => [strip.name, strip.segments[indexAt(strip.segments, player.position)]])];
  const state = JSON.stringify(rows) + theme.dark;
  if (state === nowShown) return;
  nowShown = state;
  choices = [];
  const choice = (label) => {
    if (!label || !isChord(label)) return label || "–";
    let number = choices.indexOf(label);
    if (number < 0) number = choices.push(label) - 1;
    const button = document.createElement("button"), chip = document.createElement("span");
    chip.className = "chip";
    chip.style.background = labelColour(label);
    button.append(chip, label);
    button.title = number < 9 ? `Take it for this segment (${number + 1})` : "Take it for this segment";
    button.addEventListener("click", () => (setLabel(indexAt(edit.segments, player.position), label), redraw()));
    return button;
  };
  const cell = (content) => {
    const td = document.createElement("td");
    td.append(content);
    return td;
  };
  const percent = (v) => (v === null || v === undefined ? "–" : v.toFixed(2));
  byId("now").replaceChildren(...rows.map(([name, s], i) => {
    const row = document.createElement("tr"), other = document.createElement("span");
    if (s?.other) other.append(choice(s.other), s.otherConfidence === null ? "" : ` ${s.otherConfidence.toFixed(2)}`);
    else other.append("–");
    row.append(cell(name), cell(i ? choice(s?.label) : s ? `${s.label}${s.checked ? " ✓" : ""}` : "–"), cell(percent(s?.confidence)), cell(other));
    return row;
  }));
}

function toDoubtful(step) {
  const here = player.position, list = edit.doubtful;
  const inside = (s) => s.start <= here + 1e-6 && here < s.end;
  const next = step > 0 ? list.find((s) => s.start > here + 1e-6 && !inside(s))
    : [...list].reverse().find((s) => s.start < here - 1e-6 && !inside(s));
  if (!next) return say(list.length ? "No further one this way." : "Nothing doubtful is left.");
  seek(next.start);
  reveal(next.start);
  const differs = overlap(disagreement, next.start, next.end) > 0 ? ", sources disagree" : "";
  const sure = next.confidence !== null ? `, confidence ${next.confidence.toFixed(2)}` : "";
  say(`${next.label} from ${clockText(next.start, 2)} to ${clockText(next.end, 2)}${sure}${differs}.`);
}
function bySegment(step) {
  const segments = edit.segments, at = indexAt(segments, player.position);
  const back = player.position - (segments[at]?.start ?? 0) > 0.3 ? 0 : 1;
  const to = segments[Math.min(Math.max(0, step > 0 ? at + 1 : at - back), segments.length - 1)];
  if (to) seek(to.start), reveal(to.start);
}
const step = (seconds) => (seek(player.position + seconds), reveal(player.position));
const here = () => indexAt(edit.segments, player.position);
const tell = (done, yes, no) => say(done ? yes : no, !done);

const KEYS = {
  " ": playPause,
  ArrowLeft: (event) => (event.shiftKey ? bySegment(-1) : step(-1)),
  ArrowRight: (event) => (event.shiftKey ? bySegment(1) : step(1)),
  Home: () => (seek(0), reveal(0)),
  End: () => (seek(song.duration), reveal(song.duration)),
  n: () => toDoubtful(1),
  p: () => toDoubtful(-1),
  l: toggleLoop,
  e: exportLabels,
  "+": () => zoom(1.5),
  "=": () => zoom(1.5),
  "-": () => zoom(1 / 1.5),
  0: () => setView(0, 0),
  Enter: () => openField(here()),
  a: () => here() >= 0 && (setLabel(here(), edit.segments[here()].label), say("Checked: right as it stands.")),
  s: () => tell(split(player.position), "Split at the playhead.", "The playhead is on a boundary; move it into the segment to split."),
  m: () => tell(merge(here()), "Merged with the next segment.", "There is no next segment to merge with."),
  b: () => {
    const at = nearestBoundary(player.position);
    if (at) change(moved(edit.segments, at, player.position));
    tell(at, "Boundary moved to the playhead.", "There is no boundary to move; split with s first.");
  },
  u: () => tell(undo(), "Undone.", "There is nothing to undo."),
  r: () => tell(redo(), "Done again.", "There is nothing to do again."),
  "?": () => byId("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (byId("keys").open || event.altKey) return;
  if (event.ctrlKey || event.metaKey) {
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    KEYS[key === "y" || event.shiftKey ? "r" : "u"]();
    return redraw();
  }
  const name = event.target.tagName, number = Number(event.key);
  if (name === "INPUT" && event.key.startsWith("Arrow")) return;
  if (name === "BUTTON" && (event.key === " " || event.key === "Enter")) return; // presses the button
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (number >= 1 && number <= choices.length) setLabel(here(), choices[number - 1]);
  else if (action) action(event);
  else return;
  event.preventDefault();
  redraw();
});

const BUTTONS = { play: " ", loop: "l", previous: "p", next: "n", undo: "u", export: "e", out: "-", in: "+", help: "?" };
for (const [id, key] of Object.entries(BUTTONS))
  byId(id).addEventListener("click", (event) => {
    KEYS[key](event);
    if (event.detail) byId("view").focus({ preventScroll: true }); // by mouse: keys go to the song again
    redraw();
  });
byId("keys").addEventListener("click", (event) => event.target === byId("keys") && byId("keys").close());
byId("threshold").addEventListener("input", () => {
  doubt.threshold = Number(byId("threshold").value);
  put("limit", doubt.threshold.toFixed(2));
  findDoubtful();
  redraw();
});
addEventListener("beforeunload", (event) => edit.saved || event.preventDefault());
addEventListener("resize", () => {
  closeField(false);
  setView(shown.from, shown.scale);
  redraw();
});
prefersDark.addEventListener("change", () => {
  readTheme();
  for (const tile of shown.cqt) if (tile) tile.canvas = colourTile(tile.image);
  redraw();
});

const facts = [clockText(song.duration, 1)];
if (song.transpose) facts.push(`labels moved by ${song.transpose > 0 ? "+" : "−"}${Math.abs(song.transpose)} semitones`);
if (song.note) facts.push(song.note);
if (song.audio === null) facts.push("no audio"), (byId("play").disabled = byId("loop").disabled = true);
put("about", facts.join(" · "));
byId("doubt").hidden = !hasConfidence;
fillList();
watchPointer();
layout();
firstView();
openAudio();
loadPicture();
redraw(true);
