// The page's code: asks which streams there are, plays one, and writes the lines that other programs need.

import { label, loaded, nameOf, offered } from "./players.js";

const LIST_EVERY_MS = 2000;
const RETRY_AFTER_MS = 2000;
// The picture of a live stream that stands still for so long will not move by itself: longer than any player waits for a
// segment, and than a first playlist is held.
const STUCK_AFTER_MS = 15000;

const $ = (id) => document.getElementById(id);
const video = $("video");

// `/embed/{app}/{stream}`: the player alone, for a frame in another page.
const embedded = location.pathname.startsWith("/embed/") && decodeURIComponent(location.pathname.slice(7));
document.documentElement.classList.toggle("embed", Boolean(embedded));

let streams = [];
let chosen = null; // "app/name"
let playing = null; // { key, choice, end, retry, at, since }
let ending = Promise.resolve(); // the player before has left the video

const keyOf = (stream) => `${stream.app}/${stream.name}`;
const isPlayable = (stream) => stream.state === "live" || stream.state === "waiting";

function wanted() {
  if (embedded) return embedded;
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

// The player and the format that the address asks for, either of which may be left open.
function wantedChoice() {
  const query = new URLSearchParams(location.search);
  return { player: query.get("player"), format: query.get("format") };
}

const suits = (wish) => (choice) =>
  (!wish.player || wish.player === choice.player) && (!wish.format || wish.format === choice.format);

// What to play a stream with: what the address asks for, if there is such a thing, else the best there is.
function choiceFor(stream) {
  const choices = offered(stream.outputs);
  return choices.find(suits(wantedChoice())) || choices[0];
}

function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
  $(id).hidden = !text;
}

const notice = (text) => say("notice", text);

function stop() {
  if (!playing) return;
  const { end, retry } = playing;
  playing = null;
  clearTimeout(retry);
  ending = ending
    .then(end)
    .catch(() => {})
    .then(() => {
      video.removeAttribute("src");
      video.load();
    });
}

async function play(stream, choice) {
  stop();
  const run = { key: keyOf(stream), choice, end: () => {}, retry: 0, at: -1, since: performance.now() };
  playing = run;
  run.failed = (words) => {
    if (playing !== run || run.retry) return;
    notice(`Connecting again (${nameOf(choice)}: ${words})`);
    run.retry = setTimeout(() => play(stream, choice), RETRY_AFTER_MS);
  };
  try {
    await loaded(choice);
    await ending;
    if (playing === run) run.end = choice.start(video, stream.outputs[choice.format], run.failed);
  } catch (error) {
    run.failed(error.message);
  }
}

// Players wait for a publisher that dropped out; one that misses its return is started anew.
function watch(stream) {
  const { currentTime, paused } = video;
  if (paused || stream.state !== "live" || currentTime !== playing.at) {
    playing.at = currentTime;
    playing.since = performance.now();
  } else if (performance.now() - playing.since > STUCK_AFTER_MS) {
    playing.failed("the picture stands still");
  }
}

function choose(key) {
  chosen = key;
  const stream = streams.find((one) => keyOf(one) === key);
  const choice = stream && choiceFor(stream);
  if (!stream) {
    stop();
    notice("");
  } else if (!choice) {
    stop();
    notice("This browser can't play this stream by itself, and this build of the server comes without a player for it. Use one of the lines below.");
  } else if (!isPlayable(stream)) {
    stop();
    notice(stream.state === "ended" ? "The stream has ended" : "The stream is starting");
  } else if (!playing || playing.key !== key || playing.choice !== choice) {
    notice("");
    play(stream, choice);
  } else {
    watch(stream);
  }
  show();
}

function facts(stream) {
  const parts = [];
  if (stream.width) parts.push(`${stream.width}×${stream.height}`);
  if (stream.frame_rate) parts.push(`${Math.round(stream.frame_rate * 100) / 100} fps`);
  if (stream.codecs.length) parts.push(stream.codecs.join(", "));
  return parts.join(" · ");
}

// Changes with each segment, so it stands where nothing has the focus.
const rate = (stream) => (stream.bandwidth ? ` · ${(stream.bandwidth / 1e6).toFixed(1)} Mbit/s` : "");

function element(name, text, attributes = {}) {
  const node = document.createElement(name);
  if (text) node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function copyable(list, label, text) {
  const button = element("button", "Copy", { type: "button", "aria-label": `Copy: ${label}` });
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without TLS there is no clipboard: mark the text, so that one key press copies it.
      getSelection().selectAllChildren(button.previousSibling);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  };
  const value = element("dd");
  value.append(element("code", text), button);
  list.append(element("dt", label), value);
}

// Rewriting a list on every poll would take the focus and the selection away.
const drawn = new Map();
function draw(id, state, fill) {
  const text = JSON.stringify(state);
  if (drawn.get(id) === text) return;
  drawn.set(id, text);
  const list = $(id);
  list.replaceChildren();
  fill(list);
}

function showChoice(stream) {
  const choices = stream ? offered(stream.outputs) : [];
  const choice = stream && choiceFor(stream);
  const wish = wantedChoice();
  $("with").hidden = !choice;
  draw("choice", choices.map(label), (list) => {
    for (const one of choices) list.append(element("option", label(one)));
  });
  const index = choices.indexOf(choice);
  if ($("choice").selectedIndex !== index) $("choice").selectedIndex = index;
  const missed = choice && !suits(wish)(choice);
  say("hint", missed ? "What this address asks for can't be played here; this is the next best." : "");
}

// What an operator can act on, in the server's words.
function showHealth(stream) {
  const findings = stream?.health?.findings || [];
  $("health").hidden = !findings.length;
  draw("health", findings, (list) => {
    for (const { weight, text } of findings) list.append(element("li", text, { class: weight }));
  });
  say("latency", stream?.health?.latency || "");
}

$("choice").onchange = () => {
  const stream = streams.find((one) => keyOf(one) === chosen);
  const choice = stream && offered(stream.outputs)[$("choice").selectedIndex];
  if (!choice) return;
  const url = new URL(location.href);
  url.searchParams.set("player", choice.player);
  url.searchParams.set("format", choice.format);
  url.hash = chosen;
  history.replaceState(null, "", url);
  choose(chosen);
};

function show() {
  const live = streams.filter((stream) => stream.state === "live").length;
  $("summary").textContent = live === 1 ? "1 live stream" : `${live || "No"} live streams`;
  $("empty").hidden = streams.length > 0;
  draw("streams", [streams.map((stream) => [keyOf(stream), stream.state, facts(stream)]), chosen], (list) => {
    for (const stream of streams) {
      const key = keyOf(stream);
      const link = element("a", key, { href: `#${key}` });
      if (key === chosen) link.setAttribute("aria-current", "true");
      const about = element("small", facts(stream));
      about.prepend(element("span", stream.state, { class: stream.state }), " ");
      link.append(about);
      const item = element("li");
      item.append(link);
      list.append(item);
    }
  });
  const stream = streams.find((one) => keyOf(one) === chosen);
  $("title").textContent = stream ? keyOf(stream) : chosen || "No stream chosen";
  $("facts").textContent = stream ? facts(stream) + rate(stream) : "";
  showChoice(stream);
  showHealth(stream);

  const port = Number(document.documentElement.dataset.rtmpPort) || 1935;
  const server = `rtmp://${location.hostname}${port === 1935 ? "" : `:${port}`}/live`;
  const example = "/live/cam/index.m3u8";
  const { url, outputs } = stream || { url: example, outputs: { hls: example } };
  draw("watch", [url, outputs, stream && keyOf(stream)], (list) => {
    const whole = (path) => new URL(path, location.href).href;
    if (outputs.hls) copyable(list, "Any HLS player (URL)", whole(outputs.hls));
    if (outputs.llhls) copyable(list, "HLS with CMAF segments (URL)", whole(outputs.llhls));
    if (outputs.dash) copyable(list, "Any DASH player (URL)", whole(outputs.dash));
    if (outputs.lldash) copyable(list, "Low-latency DASH player (URL)", whole(outputs.lldash));
    if (outputs.flv) copyable(list, "mpegts.js, VLC, ffplay at low latency (URL)", whole(outputs.flv));
    copyable(list, "VLC", `vlc ${whole(url)}`);
    copyable(list, "ffplay", `ffplay ${whole(url)}`);
    if (outputs.hls) copyable(list, "hls.js", `const hls = new Hls(); hls.loadSource("${whole(outputs.hls)}"); hls.attachMedia(video);`);
    const frame = whole(`/embed/${stream ? keyOf(stream) : "live/cam"}`);
    copyable(list, "In another page", `<iframe src="${frame}" width="640" height="360" allow="autoplay; fullscreen"></iframe>`);
  });
  draw("publish", server, (list) => {
    copyable(list, "OBS: Settings, Stream, Custom: server", server);
    copyable(list, "OBS: stream key", "cam");
    copyable(
      list,
      "ffmpeg",
      `ffmpeg -re -i FILE -c:v libx264 -preset veryfast -g 60 -c:a aac -f flv ${server}/cam`,
    );
  });
}

async function refresh() {
  try {
    const response = await fetch("/api/v1/live", { cache: "no-store" });
    if (!response.ok) throw new Error(String(response.status));
    streams = await response.json();
    const first = streams.find(isPlayable) || streams[0];
    choose(wanted() || chosen || (first ? keyOf(first) : null));
  } catch {
    $("summary").textContent = "The server does not answer";
  }
}

async function poll() {
  if (!document.hidden) await refresh();
  setTimeout(poll, LIST_EVERY_MS);
}

addEventListener("hashchange", () => choose(wanted()));
document.addEventListener("visibilitychange", () => {
  // A browser may have stopped the picture while nobody looked.
  if (playing) playing.since = performance.now();
  if (!document.hidden) refresh();
});
// The words about a failure stay until there is a picture again.
video.addEventListener("canplay", () => playing && !playing.retry && notice(""));
poll();
