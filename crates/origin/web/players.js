// The players behind one interface: which formats each plays, and how it is started, complains and is ended.

import { builtIn } from "./live.js";

const HLS_TYPE = "application/vnd.apple.mpegurl";

// What the server calls its outputs, and people call them.
const FORMATS = { hls: "HLS (TS)", llhls: "HLS (CMAF)", dash: "DASH", lldash: "DASH (low latency)", mp4: "MP4" };

const MEDIA_ERRORS = { 2: "the network failed", 3: "the picture can't be decoded", 4: "the address can't be played" };

// Shaka's error categories.
const SHAKA_ERRORS = { 1: "network", 3: "media", 4: "manifest", 5: "streaming", 7: "player" };
const SHAKA_BAD_STATUS = 1001;

// Everything that the page could offer, best first. `file`: the player's script, when the server has it.
const CHOICES = [
  { player: "hls.js", format: "hls", file: "hls.js", start: hls },
  { player: "hls.js", format: "llhls", file: "hls.js", start: hls },
  { player: "dash.js", format: "dash", file: "dash.js", start: dash },
  { player: "dash.js", format: "lldash", file: "dash.js", start: dash },
  { player: "shaka", format: "dash", file: "shaka.js", start: shaka },
  { player: "shaka", format: "lldash", file: "shaka.js", start: shaka },
  { player: "shaka", format: "llhls", file: "shaka.js", start: shaka },
  { player: "built-in", format: "mp4", file: null, start: builtIn },
  { player: "browser", format: "hls", file: null, start: browser },
  { player: "browser", format: "llhls", file: null, start: browser },
];

// What a choice's player is called.
export const nameOf = ({ player }) => (player === "browser" ? "this browser" : player);

// What a choice is called in the list.
export const label = (choice) => `${FORMATS[choice.format]} · ${nameOf(choice)}`;

// What this server and this browser can play of a stream's outputs.
export function offered(outputs) {
  const embedded = document.documentElement.dataset.players.split(" ");
  // An older iPhone has no way to feed a player's media to a video.
  const feeds = "MediaSource" in window || "ManagedMediaSource" in window;
  const plays = document.createElement("video").canPlayType(HLS_TYPE);
  return CHOICES.filter(
    ({ format, file, start }) =>
      outputs[format] && (start === browser ? plays : feeds && (!file || embedded.includes(file))),
  );
}

const scripts = new Map();

// Loads the script of a choice's player, once: they are large, so nobody loads those of the others.
export function loaded({ file }) {
  if (!file) return Promise.resolve();
  if (!scripts.has(file)) {
    const script = document.createElement("script");
    const done = new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = () => {
        scripts.delete(file);
        script.remove();
        reject(new Error("its script can't be loaded"));
      };
    });
    script.src = `/assets/${file}`;
    document.head.append(script);
    scripts.set(file, done);
  }
  return scripts.get(file);
}

function begin(video) {
  // Muted playback may start by itself; where it may not, the controls are there.
  video.play().catch(() => {});
}

// Each of the following plays `url` in `video`, calls `failed` with words when it can't go on, and returns what ends it.

function hls(video, url, failed) {
  const { Hls } = window;
  // Parts are ready to play as they come. A browser's first worker takes a while to start, and hls.js never makes up for it.
  const player = new Hls({ enableWorker: !new URL(url, location.href).pathname.endsWith("/llhls.m3u8") });
  let mended = false;
  player.on(Hls.Events.ERROR, (_, data) => {
    if (!data.fatal) return;
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && !mended) {
      mended = true;
      player.recoverMediaError();
    } else {
      const code = data.response && data.response.code;
      failed(code ? `${data.details}, HTTP ${code}` : data.details);
    }
  });
  player.loadSource(url);
  player.attachMedia(video);
  begin(video);
  return () => player.destroy();
}

function dash(video, url, failed) {
  const { MediaPlayer } = window.dashjs;
  const player = MediaPlayer().create();
  // Where an MPD names no clock, dash.js would ask another origin for the time.
  const clock = { scheme: "urn:mpeg:dash:utc:http-iso:2014", value: new URL("/time", location.href).href };
  player.updateSettings({
    streaming: {
      utcSynchronization: { defaultTimingSource: clock },
      // Beginning exactly at the first picture of a new stream, Chromium has it and yet waits; a small step helps.
      gaps: { enableStallFix: true },
    },
  });
  player.on(MediaPlayer.events.ERROR, ({ error }) => {
    failed((error && error.message) || `error ${(error && error.code) || error}`);
  });
  // It starts the video by itself: play() before it listens to the video, and it never loads the MPD again.
  player.initialize(video, url, true);
  return () => player.destroy();
}

function shaka(video, url, failed) {
  const { Player, polyfill, util } = window.shaka;
  polyfill.installAll();
  const player = new Player();
  const fail = (error) => {
    const status = error.code === SHAKA_BAD_STATUS ? `, HTTP ${error.data[1]}` : "";
    failed(error.code ? `${SHAKA_ERRORS[error.category] || "other"} error ${error.code}${status}` : error.message);
  };
  player.addEventListener("error", ({ detail }) => {
    if (detail.severity === util.Error.Severity.CRITICAL) fail(detail);
  });
  const play = async () => {
    await player.attach(video);
    await player.load(url);
    begin(video);
  };
  play().catch(fail);
  return () => player.destroy();
}

function browser(video, url, failed) {
  const fail = () => {
    const { code, message } = video.error || {};
    failed(MEDIA_ERRORS[code] || message || "no reason given");
  };
  video.addEventListener("error", fail);
  video.src = url;
  begin(video);
  return () => video.removeEventListener("error", fail);
}
