// The song: strips as they were read, the segments being corrected, what is doubtful, undo.

const song = JSON.parse(byId("data").textContent);
const keyOf = comparer(song.classes, song.qualities);
const CHORD = new RegExp(`^(?:N|X|${song.grammar})$`);
const isChord = (label) => CHORD.test(label) && !label.endsWith(":") && !label.includes(":/");

function segmentsOf(columns) {
  const { starts, ends, labels, confidence, alternatives, alternative_confidence: second } = columns;
  return labels.map((label, i) => ({
    start: starts[i], end: ends[i], label, confidence: confidence ? confidence[i] : null,
    other: alternatives ? alternatives[i] : "", otherConfidence: second ? second[i] : null, checked: false,
  }));
}
const strips = song.strips.map((strip) => ({ name: strip.name, segments: segmentsOf(strip) }));

const edit = { segments: segmentsOf(song.edit), done: [], undone: [], saved: true, doubtful: [] };
const hasConfidence = strips.some((strip) => strip.segments.some((s) => s.confidence !== null));
const doubt = { threshold: 0.5 };

// Index of the segment that holds a time; -1 outside all of them.
function indexAt(segments, time) {
  let low = 0, high = segments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (segments[middle].start <= time) low = middle + 1; else high = middle;
  }
  const at = low - 1;
  return at >= 0 && (time < segments[at].end || (at === segments.length - 1 && time <= segments[at].end)) ? at : -1;
}
// Of the first segment that ends after a time.
function firstAfter(segments, time) {
  let low = 0, high = segments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (segments[middle].end <= time) low = middle + 1; else high = middle;
  }
  return low;
}

// Where the sources differ: [{start, end, level}], level 1 same root, 2 other roots. Unlabelled time takes no part.
function findDisagreement() {
  if (strips.length < 2) return [];
  const bounds = new Set();
  for (const { segments } of strips) for (const s of segments) bounds.add(s.start).add(s.end);
  const times = [...bounds].sort((a, b) => a - b), at = strips.map(() => 0), found = [];
  for (let i = 0; i + 1 < times.length; i++) {
    const keys = new Set(), roots = new Set();
    strips.forEach(({ segments }, k) => {
      while (at[k] < segments.length && segments[at[k]].end <= times[i]) at[k]++;
      const s = segments[at[k]];
      if (s && s.start <= times[i]) keys.add(keyOf(s.label)), roots.add(chordOf(s.label).root);
    });
    if (keys.size < 2) continue;
    const level = roots.size > 1 ? 2 : 1, last = found[found.length - 1];
    if (last && last.end === times[i] && last.level === level) last.end = times[i + 1];
    else found.push({ start: times[i], end: times[i + 1], level });
  }
  return found;
}
const disagreement = findDisagreement();

const SLIP = 0.3; // seconds of disagreement that may be a boundary a little off
// Seconds of a span in which the spans of a sorted list hold.
function overlap(spans, start, end) {
  let sum = 0;
  for (let i = firstAfter(spans, start); i < spans.length && spans[i].start < end; i++)
    sum += Math.min(end, spans[i].end) - Math.max(start, spans[i].start);
  return sum;
}
function findDoubtful() {
  const low = strips.map(({ segments }) =>
    segments.filter((s) => s.confidence !== null && s.confidence < doubt.threshold));
  edit.doubtful = edit.segments.filter((s) => {
    if (s.checked) return false;
    const enough = Math.min(SLIP, (s.end - s.start) / 2);
    return overlap(disagreement, s.start, s.end) > enough || low.some((spans) => overlap(spans, s.start, s.end) > enough);
  });
}
findDoubtful();

// Every change makes new segments, so that undo is to put the old ones back.
function change(segments) {
  edit.done.push(edit.segments);
  edit.undone = [];
  restore(segments);
}
function restore(segments) {
  edit.segments = segments;
  edit.saved = false;
  findDoubtful();
}
function undo() {
  if (!edit.done.length) return false;
  edit.undone.push(edit.segments);
  restore(edit.done.pop());
  return true;
}
function redo() {
  if (!edit.undone.length) return false;
  edit.done.push(edit.segments);
  restore(edit.undone.pop());
  return true;
}
const corrected = (segment, values) => ({ ...segment, ...values, checked: true });
const replaced = (at, count, ...put) => [...edit.segments.slice(0, at), ...put, ...edit.segments.slice(at + count)];

function relabel(at, label) {
  const s = edit.segments[at];
  const known = label === s.label ? {} : { confidence: null, other: "", otherConfidence: null };
  change(replaced(at, 1, corrected(s, { label, ...known })));
}
const SHORTEST = 0.01;
const whole = (time) => Math.round(time * 1e6) / 1e6;
function split(time) {
  time = whole(time);
  const at = indexAt(edit.segments, time), s = edit.segments[at];
  if (!s || time - s.start < SHORTEST || s.end - time < SHORTEST) return false;
  change(replaced(at, 1, corrected(s, { end: time }), corrected(s, { start: time })));
  return true;
}
function merge(at) {
  const [s, next] = edit.segments.slice(at, at + 2);
  if (!s || !next) return false;
  change(replaced(at, 2, corrected(s, { end: next.end })));
  return true;
}
// The boundary between segments at - 1 and at, kept between their far ends.
function moved(segments, at, time) {
  const [before, after] = segments.slice(at - 1, at + 1);
  time = whole(Math.min(Math.max(time, before.start + SHORTEST), after.end - SHORTEST));
  return [...segments.slice(0, at - 1), corrected(before, { end: time }), corrected(after, { start: time }),
    ...segments.slice(at + 1)];
}
// Index of the segment whose start is the inner boundary nearest to a time; 0 when there is none.
function nearestBoundary(time) {
  let best = 0;
  for (let i = 1; i < edit.segments.length; i++)
    if (!best || Math.abs(edit.segments[i].start - time) < Math.abs(edit.segments[best].start - time)) best = i;
  return best;
}
// As chordfast writes it: neighbours of one label stay apart, as they were corrected.
const labText = () =>
  edit.segments.map((s) => `${s.start.toFixed(6)}\t${s.end.toFixed(6)}\t${s.label}\n`).join("");
