// Plays a stream whose pictures carry their number in headless Chromium, reads the numbers off the pictures that are shown, and
// prints when each one was seen as one line of JSON.
//
//   node latency.mjs '{"mode":"hls.js|shaka|dash.js|mpegts.js|native","url":"...","settings":{...}}' SECONDS
//   node latency.mjs '{"mode":"page","url":"http://HOST:PORT/?player=...&format=...#APP/STREAM"}' SECONDS
//
// page: the server's own page, which plays by itself. SECONDS count from SETTLE_MS after the first moving picture. With
// "played_before":true the browser plays the stream for a moment first, and the page is loaded anew.
// `tests/src/latency/numbered.rs` draws the pictures.
import { launch } from './chromium.mjs';
import { SCRIPTS, serve_page, start_player } from './players.mjs';

const [optionText, secondsText] = process.argv.slice(2);
const option = JSON.parse(optionText ?? 'null');
const seconds = Number(secondsText);
if (!option?.url || !(option.mode in SCRIPTS || option.mode === 'page') || !(seconds > 0)) {
  console.error('usage: node latency.mjs \'{"mode":"...","url":"...","settings":{...}}\' SECONDS');
  process.exit(2);
}

// A player that has not shown a moving picture by then will not: hls.js gives up at 20 s.
const START_MS_MAX = 30_000;

// Players find their distance from the live edge after they have begun.
const SETTLE_MS = 5_000;

// So long it has played before it is judged.
const WARM_UP_MS = 2_000;

// All that a player says and asks for in some minutes, parts and playlists of two tracks.
const CONSOLE_SHOWN_MAX = 20_000;
const REQUESTS_SHOWN_MAX = 20_000;

const own = option.mode === 'page';
// Its size on the page is its own: what a player adapts to its window must not change it.
const server = own ? null : await serve_page(
  [option.mode], '<video id="video" muted playsinline style="width: 640px; height: 360px"></video>');
const browser = await launch({
  viewport: { width: 1280, height: 900 },
  args: ['--autoplay-policy=no-user-gesture-required'],
});

let report;
const requests = [];
const console_lines = [];
try {
  const { page } = browser;
  page.on('console', (message) => console_lines.push(`${(Date.now() / 1000).toFixed(3)}: ${message.text()}`));
  page.on('pageerror', (error) => console_lines.push(`page error: ${error.message}`));
  const note = (request, text) => requests.push(`${(Date.now() / 1000).toFixed(3)}: ${text} ${request.url()}`);
  page.on('request', (request) => note(request, 'GET'));
  page.on('response', (response) => note(response, response.status()));
  page.on('requestfailed', (request) => note(request, request.failure()?.errorText));
  await page.goto(own ? option.url : server.address);
  const define = () => page.evaluate(`window.start_player = ${own ? 'null' : start_player}`);
  await define();
  if (option.played_before) {
    await page.evaluate(warm_up, { ...option, start_ms_max: START_MS_MAX, warm_up_ms: WARM_UP_MS });
    console_lines.length = requests.length = 0;
    await page.reload();
    await define();
  }
  report = await page.evaluate(watch, { ...option, seconds, start_ms_max: START_MS_MAX, settle_ms: SETTLE_MS });
} catch (error) {
  report = { fatal: [`runner: ${error.message}`] };
} finally {
  await browser.close();
  server?.close();
}
console.log(JSON.stringify({ ...report, console: console_lines.slice(-CONSOLE_SHOWN_MAX), requests: requests.slice(-REQUESTS_SHOWN_MAX) }));

// Runs in the page: has it played for a while, or tried to.
async function warm_up({ mode, url, settings, start_ms_max, warm_up_ms }) {
  const video = document.getElementById('video');
  if (mode !== 'page') {
    const said = () => {};
    await window.start_player({ mode, video, url, settings, fatal: said, error: said, stalled: said });
  }
  const until = Date.now() + start_ms_max;
  let began = null;
  while (Date.now() < until && (began === null || video.currentTime - began < warm_up_ms / 1000)) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    if (began === null && video.currentTime > 0 && !video.seeking) began = video.currentTime;
  }
}

// Runs in the page. Times are milliseconds since 1970.
async function watch({ mode, url, settings, seconds, start_ms_max, settle_ms }) {
  const video = document.getElementById('video');
  const report = {
    version: null, fatal: [], errors: [], waits: [], jumps: 0, asked_at: Date.now(), first: null, from: null, to: null,
    shown: [], unreadable: 0, dropped: 0, rates: {}, latency_told: null,
  };

  // The squares' middles, in one row of pixels.
  const BITS = 32;
  const canvas = document.createElement('canvas');
  canvas.width = BITS;
  canvas.height = 1;
  const pixels = canvas.getContext('2d', { willReadFrequently: true });
  pixels.imageSmoothingEnabled = false;
  const number = () => {
    const block = video.videoWidth / BITS;
    pixels.drawImage(video, 0, block, video.videoWidth, 1, 0, 0, BITS, 1);
    const { data } = pixels.getImageData(0, 0, BITS, 1);
    let code = 0;
    for (let bit = 0; bit < BITS; bit += 1) if (data[bit * 4] > 128) code += 2 ** bit;
    const shown = code % 2 ** 24;
    const check = (shown ^ shown >> 8 ^ shown >> 16 ^ 0xA5) & 0xFF;
    return Math.floor(code / 2 ** 24) === check ? shown : null;
  };
  const on_frame = () => {
    const at = Date.now();
    report.first ??= at;
    const shown = number();
    if (shown === null) report.unreadable += 1;
    else report.shown.push([shown, at]);
    video.requestVideoFrameCallback(on_frame);
  };
  video.requestVideoFrameCallback(on_frame);

  video.addEventListener('waiting', () => report.first !== null && report.waits.push({ at: Date.now(), media: video.currentTime }));
  video.addEventListener('seeking', () => { report.jumps += report.first === null ? 0 : 1; });
  video.addEventListener('error', () => report.fatal.push(`video: ${video.error?.code} ${video.error?.message}`));
  let latency = () => NaN;
  if (mode !== 'page') {
    const player = await window.start_player({
      mode, video, url, settings, fatal: (text) => report.fatal.push(text), stalled: () => {},
      error: (text) => report.errors.push(`${Date.now()}: ${text}`),
    });
    ({ version: report.version, latency } = player);
  }

  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const now = Date.now();
    if (report.fatal.length > 0) break;
    if (report.first === null) {
      if (now - report.asked_at > start_ms_max) { report.fatal.push(`no picture after ${start_ms_max} ms`); break; }
      continue;
    }
    if (report.from === null) {
      if (now - report.first < settle_ms) continue;
      report.from = now;
      report.dropped = -video.getVideoPlaybackQuality().droppedVideoFrames;
    }
    // How often each speed was seen, in tenths of a second.
    const rate = video.playbackRate.toFixed(2);
    report.rates[rate] = (report.rates[rate] ?? 0) + 1;
    if (now - report.from >= seconds * 1000) break;
  }
  report.to = Date.now();
  report.dropped += video.getVideoPlaybackQuality().droppedVideoFrames;
  if (Number.isFinite(latency())) report.latency_told = latency();
  return report;
}
