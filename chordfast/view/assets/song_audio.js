// Playing: the audio beside or inside the page, the playhead, the loop.

const player = { element: null, position: 0, loop: null, url: "" };

function openAudio() {
  if (song.audio === null) return;
  const element = new Audio();
  element.preload = "auto";
  element.addEventListener("error", () => {
    player.element = null;
    byId("play").disabled = true;
    say(song.audio ? `The browser cannot play ${song.audio}; is it still there? Labels can be corrected without.`
      : "The browser cannot play this kind of audio; labels can be corrected without.", true);
  });
  for (const name of ["play", "pause", "ended", "seeked"]) element.addEventListener(name, () => redraw());
  if (song.audio === "") {
    const text = atob(byId("embedded").textContent), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    byId("embedded").remove();
    player.url = URL.createObjectURL(new Blob([bytes], { type: song.type }));
  } else player.url = song.audio;
  element.src = player.url;
  player.element = element;
}

const playing = () => player.element !== null && !player.element.paused && !player.element.ended;

function playPause() {
  if (!player.element) return say("This page has no audio to play.", true);
  if (playing()) return player.element.pause();
  if (player.position >= song.length - 0.01) seek(0);
  player.element.play().catch((error) => error.name !== "AbortError" && say(`Playing failed: ${error.message}`, true));
}

function seek(time) {
  player.position = Math.min(Math.max(0, time), song.duration);
  if (player.loop && (time < player.loop.start || time >= player.loop.end)) player.loop = null;
  if (player.element) player.element.currentTime = Math.min(player.position, song.length);
}

// Follow the audio; called for every picture while it plays.
function advance() {
  player.position = Math.min(player.element.currentTime, song.duration);
  if (player.loop && player.position >= player.loop.end) {
    player.element.currentTime = player.position = player.loop.start;
  }
}

function toggleLoop() {
  const at = indexAt(edit.segments, player.position);
  player.loop = player.loop || at < 0 ? null : { start: edit.segments[at].start, end: edit.segments[at].end };
}
