// The page's code: asks which streams there are, plays one, and writes the lines that other programs need.
"use strict";

const LIST_EVERY_MS = 2000;
const RETRY_AFTER_MS = 2000;
const HLS_TYPE = "application/vnd.apple.mpegurl";

const $ = (id) => document.getElementById(id);
const video = $("video");

let streams = [];
let chosen = null; // "app/name"
let playing = null; // { key, hls, retry }

const keyOf = (stream) => `${stream.app}/${stream.name}`;
const isPlayable = (stream) => stream.state === "live" || stream.state === "waiting";

function wanted() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

function stop() {
  if (!playing) return;
  clearTimeout(playing.retry);
  if (playing.hls) playing.hls.destroy();
  playing = null;
  video.removeAttribute("src");
  video.load();
}

function play(stream) {
  stop();
  const player = { key: keyOf(stream), hls: null, retry: 0 };
  playing = player;
  notice("");
  const again = () => {
    if (playing !== player) return;
    notice("Connecting again");
    player.retry = setTimeout(() => playing === player && play(stream), RETRY_AFTER_MS);
  };
  if (window.Hls && window.Hls.isSupported()) {
    const hls = new window.Hls();
    player.hls = hls;
    let mended = false;
    hls.on(window.Hls.Events.ERROR, (_, data) => {
      if (!data.fatal) return;
      if (data.type === window.Hls.ErrorTypes.MEDIA_ERROR && !mended) {
        mended = true;
        hls.recoverMediaError();
      } else {
        again();
      }
    });
    hls.loadSource(stream.url);
    hls.attachMedia(video);
  } else if (video.canPlayType(HLS_TYPE)) {
    video.onerror = again;
    video.src = stream.url;
  } else {
    playing = null;
    notice("This browser can't play HLS, and this build of the server comes without hls.js. Use one of the lines below.");
    return;
  }
  // Muted playback may start by itself; where it may not, the controls are there.
  video.play().catch(() => {});
}

function choose(key) {
  chosen = key;
  const stream = streams.find((one) => keyOf(one) === key);
  if (stream && isPlayable(stream)) {
    if (!playing || playing.key !== key) play(stream);
  } else {
    stop();
    if (stream) notice(stream.state === "ended" ? "The stream has ended" : "The stream is starting");
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

function show() {
  const live = streams.filter((stream) => stream.state === "live").length;
  $("summary").textContent = live === 1 ? "1 live stream" : `${live || "No"} live streams`;
  $("empty").hidden = streams.length > 0;
  draw("streams", [streams, chosen], (list) => {
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
  $("facts").textContent = stream ? facts(stream) : "";

  const port = Number(document.documentElement.dataset.rtmpPort) || 1935;
  const server = `rtmp://${location.hostname}${port === 1935 ? "" : `:${port}`}/live`;
  const url = new URL(stream ? stream.url : "/live/cam/index.m3u8", location.href).href;
  draw("watch", url, (list) => {
    copyable(list, "Any HLS player (URL)", url);
    copyable(list, "VLC", `vlc ${url}`);
    copyable(list, "ffplay", `ffplay ${url}`);
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
document.addEventListener("visibilitychange", () => document.hidden || refresh());
poll();
