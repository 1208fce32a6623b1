// The page's code: shows which streams there are and how they are, plays one, and writes the lines that other programs need.

import { follow, ownPath, withToken } from "./feed.js";
import { MINUTE, poster, sparkline } from "./pictures.js";
import { label, loaded, nameOf, offered } from "./players.js";

const RETRY_AFTER_MS = 2000;
// The picture of a live stream that stands still for so long will not move by itself: longer than any player waits for a
// segment, and than a first playlist is held.
const STUCK_AFTER_MS = 15000;
// What is written as a figure is the average of so many seconds: a second holds 29, 30 or 31 pictures of the same stream.
const AVERAGED = 5;

const $ = (id) => document.getElementById(id);
const video = $("video");

// `/embed/{app}/{stream}`: the player alone, for a frame in another page.
const embedded = ownPath.startsWith("/embed/") && decodeURIComponent(ownPath.slice(7));
document.documentElement.classList.toggle("embed", Boolean(embedded));

let streams = [];
let chosen = null; // "app/name"
const minutes = new Map(); // by "app/name": { bitrates, frameRates, viewers }, a minute of figures
const cards = new Map(); // by "app/name": what the list shows of a stream
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

// Writing the same again would take a selection away, and be read out again.
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const write = (id, text) => put($(id), text);

function say(id, text) {
  write(id, text);
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
    notice(key ? `${key} is not live` : "Nothing is live");
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
  return parts.join(" · ");
}

const rateText = (bits) => {
  if (bits === null) return "–";
  return bits >= 999500 ? `${(bits / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bits / 1e3)} kbit/s`;
};

function average(points) {
  const some = points.slice(-AVERAGED).filter((point) => point !== null);
  return some.length ? some.reduce((sum, point) => sum + point, 0) / some.length : null;
}

// How a stream is, in a word or two.
function verdict(stream) {
  if (!stream) return { word: "–", about: "", weight: "" };
  if (stream.state !== "live") return { word: stream.state === "waiting" ? "Away" : "–", about: "nobody publishes now", weight: "note" };
  if (!stream.health) return { word: "Measuring", about: "for ten seconds", weight: "" };
  const { findings } = stream.health;
  const warnings = findings.filter(({ weight }) => weight === "warning").length;
  if (warnings) return { word: warnings === 1 ? "1 warning" : `${warnings} warnings`, about: "viewers can notice", weight: "warning" };
  if (findings.length) return { word: "Good", about: findings.length === 1 ? "1 note" : `${findings.length} notes`, weight: "good" };
  return { word: "Good", about: "nothing found", weight: "good" };
}

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
  const line = element("div");
  line.append(element("dt", label), value);
  list.append(line);
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
  const { word, about, weight } = verdict(stream);
  write("verdict", word);
  write("verdict-about", about);
  $("verdict").className = weight;
  const findings = stream?.health?.findings || [];
  $("health").hidden = !findings.length;
  draw("health", findings, (list) => {
    for (const { weight, text } of findings) list.append(element("li", text, { class: weight }));
  });
  say("latency", stream?.health?.latency || "");
}

const lines = { bitrate: sparkline("Bit rate of the last minute"), frameRate: sparkline("Frame rate of the last minute") };
$("bitrate-minute").append(lines.bitrate.svg);
$("frame-rate-minute").append(lines.frameRate.svg);

// The figures of the stream that was chosen, and of all in the list.
function showFigures() {
  const { bitrates = [], frameRates = [], viewers = null } = minutes.get(chosen) || {};
  // Until there is a measured second, what recent segments had.
  const stream = streams.find((one) => keyOf(one) === chosen);
  const pictures = average(frameRates) ?? stream?.frame_rate ?? null;
  write("bitrate", rateText(average(bitrates) ?? stream?.bandwidth ?? null));
  write("frame-rate", pictures === null ? "–" : `${pictures.toFixed(1)} fps`);
  write("viewers", viewers === null ? "–" : String(viewers));
  lines.bitrate.draw(bitrates);
  lines.frameRate.draw(frameRates);
  for (const stream of streams) cards.get(keyOf(stream))?.measure(stream, minutes.get(keyOf(stream)));
}

function measured(figures) {
  const seen = new Set();
  for (const { app, name, bitrate, frame_rate, viewers } of figures) {
    const key = `${app}/${name}`;
    seen.add(key);
    const minute = minutes.get(key) || { bitrates: [], frameRates: [], viewers };
    minute.bitrates = [...minute.bitrates, bitrate].slice(-MINUTE);
    minute.frameRates = [...minute.frameRates, frame_rate].slice(-MINUTE);
    minute.viewers = viewers;
    minutes.set(key, minute);
  }
  for (const key of minutes.keys()) if (!seen.has(key)) minutes.delete(key);
  choose(wanted() || chosen);
  showFigures();
}

// A stream in the list: its picture, its name, how it is.
function card(key) {
  const item = element("li");
  const link = element("a", "", { href: `#${key}` });
  const picture = poster();
  const line = sparkline("Bit rate of the last minute");
  const [state, about, figures] = [element("span"), element("span"), element("small", "–", { class: "figures" })];
  const first = element("small");
  first.append(state, " ", about);
  const text = element("div", "", { class: "text" });
  text.append(element("b", key), first, figures);
  link.append(picture.frame, text, line.svg);
  item.append(link);
  return {
    item,
    show(stream) {
      put(state, stream.state);
      state.className = `state ${stream.state}`;
      put(about, facts(stream));
      // Without the figures, which would be read out each second.
      link.setAttribute("aria-label", [key, stream.state, facts(stream)].filter(Boolean).join(", "));
      if (key === chosen) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    },
    measure(stream, minute) {
      const rate = rateText(average(minute?.bitrates || []) ?? stream.bandwidth);
      const viewers = minute?.viewers ? ` · ${minute.viewers} ${minute.viewers === 1 ? "viewer" : "viewers"}` : "";
      put(figures, rate + viewers);
      line.draw(minute?.bitrates || []);
    },
    picture,
  };
}

function showStreams() {
  const keys = streams.map(keyOf);
  for (const [key, { item }] of cards) {
    if (keys.includes(key)) continue;
    item.remove();
    cards.delete(key);
  }
  keys.forEach((key, index) => {
    if (!cards.has(key)) {
      const made = card(key);
      cards.set(key, made);
      $("streams").insertBefore(made.item, $("streams").children[index] || null);
    }
    const { show, picture } = cards.get(key);
    show(streams[index]);
    if (streams[index].state !== "starting") picture.look(streams[index].poster);
  });
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
  write("summary", live === 1 ? "1 live stream" : `${live || "No"} live streams`);
  $("summary").className = live ? "live" : "";
  $("empty").hidden = streams.length > 0;
  showStreams();
  const stream = streams.find((one) => keyOf(one) === chosen);
  write("title", stream ? keyOf(stream) : chosen || "No stream chosen");
  write("facts", stream ? [facts(stream), stream.codecs.join(", ")].filter(Boolean).join(" · ") : "");
  showChoice(stream);
  showHealth(stream);
  showLines(stream);
}

// What other programs need to publish, and to play a stream; before there is one, an example.
function showLines(stream) {
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
    const frame = whole(withToken(`/embed/${stream ? keyOf(stream) : "live/cam"}`));
    copyable(list, "In another page", `<iframe src="${frame}" width="640" height="360" allow="autoplay; fullscreen"></iframe>`);
  });
  draw("publish", server, (list) => {
    copyable(list, "OBS: Settings, Stream, Custom: server", server);
    copyable(list, "OBS: stream key", "cam");
    copyable(list, "ffmpeg", `ffmpeg -re -i FILE -c:v libx264 -preset veryfast -g 60 -c:a aac -f flv ${server}/cam`);
    copyable(
      list,
      "GStreamer",
      `gst-launch-1.0 videotestsrc is-live=true ! x264enc key-int-max=60 tune=zerolatency ! flvmux streamable=true ! rtmp2sink location=${server}/cam`,
    );
  });
}

function listed(list) {
  streams = list;
  const first = streams.find(isPlayable) || streams[0];
  choose(wanted() || chosen || (first ? keyOf(first) : null));
  showFigures();
}

function lost(reason) {
  write("summary", reason || "The server does not answer");
  $("summary").className = "lost";
  if (!reason) return;
  // There may be streams: this viewer is told of none.
  $("empty").hidden = true;
  notice(reason);
}

addEventListener("hashchange", () => {
  choose(wanted());
  showFigures();
});
document.addEventListener("visibilitychange", () => {
  // A browser may have stopped the picture while nobody looked.
  if (playing) playing.since = performance.now();
});
// The words about a failure stay until there is a picture again.
video.addEventListener("canplay", () => playing && !playing.retry && notice(""));
showLines(null);
follow({ listed, measured, lost, quietly: Boolean(embedded) });
