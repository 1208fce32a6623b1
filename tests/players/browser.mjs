// Plays a live URL in headless Chromium and prints what happened as one line of JSON.
//
//   node browser.mjs hls.js|shaka|dash.js|mpegts.js|native URL SECONDS SCREENSHOT.png [SETTINGS]
//
// hls.js, shaka (HLS and DASH), dash.js and mpegts.js (FLV over HTTP or WebSocket, and MPEG-TS): the players from npm, with the
// settings they come with but for SETTINGS (a JSON object). native: Chromium's own player (`video.src`). All run on a page of another origin than the media, so a
// missing CORS header shows. SECONDS count from the first moving picture. SETTINGS may have `slow_worker` for hls.js: it begins when the newest
// part that is listed has that index, and its worker is given nothing before the segment of that part is complete.
import { writeFile } from 'node:fs/promises';
import { launch } from './chromium.mjs';
import { SCRIPTS, serve_page, start_player } from './players.mjs';

const [mode, url, secondsText, screenshot, settingsText = '{}'] = process.argv.slice(2);
const seconds = Number(secondsText);
if (!(mode in SCRIPTS) || !url || !(seconds > 0) || !screenshot) {
  console.error('usage: node browser.mjs hls.js|shaka|dash.js|mpegts.js|native URL SECONDS SCREENSHOT.png [SETTINGS]');
  process.exit(2);
}

// A player that has not shown a moving picture by then will not: hls.js gives up at 20 s.
const START_MS_MAX = 30_000;

const SCREENSHOT_MS_MAX = 10_000;

// The last of them matter when a player stands still.
const REQUESTS_SHOWN_MAX = 60;

const server = await serve_page(
  [mode], '<video id="video" muted playsinline style="width: 854px; height: 480px"></video>');
const browser = await launch({
  viewport: { width: 854, height: 480 },
  args: ['--autoplay-policy=no-user-gesture-required'],
});

let report;
const console_lines = [];
// Every request of the page with its answer, to see what a player that stands still was waiting for.
const requests = [];
try {
  const { page } = browser;
  page.on('console', (message) => console_lines.push(message.text()));
  const page_began = performance.now();
  page.on('response', (response) => requests.push(
    `${((performance.now() - page_began) / 1000).toFixed(1)} s: ${response.status()} ${response.url()}`));
  page.on('requestfailed', (request) => requests.push(
    `${((performance.now() - page_began) / 1000).toFixed(1)} s: ${request.failure()?.errorText} ${request.url()}`));
  page.on('pageerror', (error) => console_lines.push(`page error: ${error.message}`));
  await page.goto(server.address);
  await page.evaluate(`window.start_player = ${start_player}`);
  report = await page.evaluate(play, { mode, url, seconds, settings: JSON.parse(settingsText), start_ms_max: START_MS_MAX });
  const { picture } = report;
  delete report.picture;
  try {
    await page.screenshot({ path: screenshot, timeout: SCREENSHOT_MS_MAX });
  } catch (error) {
    // A busy machine composes no page in time; the picture that the player decoded will do.
    if (picture) await writeFile(screenshot, Buffer.from(picture.split(',')[1], 'base64'));
    console_lines.push(`screenshot: ${error.message.split('\n')[0]}`);
  }
} catch (error) {
  report = { fatal: [`runner: ${error.message}`] };
} finally {
  await browser.close();
  server.close();
}
console.log(JSON.stringify({
  player: mode, url, ...report, screenshot, console: console_lines.slice(0, 20), requests: requests.slice(-REQUESTS_SHOWN_MAX),
}));

// Runs in the page.
async function play({ mode, url, seconds, settings: all_settings, start_ms_max }) {
  const video = document.getElementById('video');
  const began = performance.now();
  const now = () => Math.round(performance.now() - began);
  const report = {
    fatal: [], errors: [], stalls: [], jumps: [], details: [], start_ms: null, played_seconds: 0, frames: 0, dropped: 0,
    pictures: 0, frame_gap_ms_max: 0, media_time_backwards: 0, latency_seconds: null, width: 0, height: 0, version: null,
    trapped: false,
  };
  const started = () => report.start_ms !== null;

  // The last sample of the clock, to know a jump (a seek over a hole) from playing.
  for (const name of ['waiting', 'stalled', 'seeking']) {
    video.addEventListener(name, () => {
      const entry = { event: name, at_ms: now(), media: video.currentTime };
      if (!started()) return;
      // "stalled" only says that no data came for 3 s, which is usual between two live segments.
      if (name === 'waiting') report.stalls.push(entry);
      if (name === 'seeking') report.jumps.push(entry);
    });
  }
  video.addEventListener('error', () => report.fatal.push(`video: ${video.error?.code} ${video.error?.message}`));

  // Every picture that the compositor showed, with its media time.
  let last_frame = null;
  const on_frame = (at, metadata) => {
    if (last_frame !== null) {
      report.frame_gap_ms_max = Math.max(report.frame_gap_ms_max, Math.round(at - last_frame.at));
      if (metadata.mediaTime < last_frame.media) report.media_time_backwards += 1;
    }
    last_frame = { at, media: metadata.mediaTime };
    video.requestVideoFrameCallback(on_frame);
  };

  const { slow_worker, ...settings } = all_settings;
  let begun = () => {};
  if (slow_worker !== undefined) begun = await hold_worker();

  // Returns what is to be called with the player once it has begun.
  async function hold_worker() {
    const waiting = [];
    let is_held = true;
    window.Worker = class extends Worker {
      postMessage(...message) {
        if (is_held) waiting.push(() => super.postMessage(...message));
        else super.postMessage(...message);
      }
    };
    const list = url.replace('llhls.m3u8', 'video/media.m3u8');
    const text = await (await fetch(list)).text();
    const complete = (text.match(/#EXTINF/g) ?? []).length;
    const running = Number(text.match(/#EXT-X-MEDIA-SEQUENCE:(\d+)/)[1]) + complete;
    await (await fetch(`${list}?_HLS_msn=${running + 1}&_HLS_part=${slow_worker}`)).text();
    return ({ hls }) => {
      let first = Infinity;
      hls.on(Hls.Events.FRAG_LOADING, (_, { frag }) => {
        if (frag.type === 'main' && Number.isInteger(frag.sn)) first = Math.min(first, frag.sn);
      });
      hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
        if (details.endSN < first) return;
        is_held = false;
        waiting.splice(0).forEach((post) => post());
      });
    };
  }

  const player = await window.start_player({
    mode, video, url, settings,
    fatal: (text) => report.fatal.push(text),
    error: (text) => {
      // What hls.js says while it starts is its own affair, but for a play() that fails.
      if (mode !== 'hls.js' || started() || text.startsWith('play()')) report.errors.push({ text, at_ms: now() });
    },
    trapped: () => { report.trapped = true; },
    stalled: (event) => { if (started()) report.stalls.push({ event, at_ms: now(), media: video.currentTime }); },
  });
  report.version = player.version;
  begun(player);
  const { latency } = player;

  const canvas = document.createElement('canvas');
  canvas.width = 160;
  canvas.height = 90;
  const pixels = canvas.getContext('2d', { willReadFrequently: true });
  const seen = new Set();
  const look = () => {
    pixels.drawImage(video, 0, 0, canvas.width, canvas.height);
    const data = pixels.getImageData(0, 0, canvas.width, canvas.height).data;
    let hash = 2166136261;
    for (let i = 0; i < data.length; i += 1) hash = Math.imul(hash ^ data[i], 16777619);
    seen.add(hash);
  };

  let first_media = null;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    if (report.fatal.length > 0) break;
    if (!started()) {
      if (now() > start_ms_max) { report.fatal.push(`no moving picture after ${start_ms_max} ms`); break; }
      if (video.readyState >= 2 && !video.paused && video.currentTime > 0) {
        if (first_media === null) first_media = video.currentTime;
        else if (video.currentTime > first_media) {
          first_media = video.currentTime;
          report.start_ms = now();
          video.requestVideoFrameCallback(on_frame);
        }
      }
      continue;
    }
    try { look(); } catch (error) { report.fatal.push(`picture: ${error.message}`); }
    if (Number.isFinite(latency())) report.latency_seconds = latency();
    report.played_seconds = video.currentTime - first_media;
    if (now() - report.start_ms >= seconds * 1000) break;
    // A live stream that ended is not a stall.
    if (video.ended) break;
  }
  const quality = video.getVideoPlaybackQuality();
  report.frames = quality.totalVideoFrames;
  report.dropped = quality.droppedVideoFrames;
  report.pictures = seen.size;
  report.width = video.videoWidth;
  report.height = video.videoHeight;
  report.ended = video.ended;
  try {
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext('2d').drawImage(video, 0, 0);
    report.picture = canvas.toDataURL('image/png');
  } catch (error) {
    report.fatal.push(`picture: ${error.message}`);
  }
  return report;
}
