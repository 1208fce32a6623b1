// Plays an HLS URL in headless Chromium and prints what happened as one line of JSON.
//
//   node browser.mjs hls.js|native URL SECONDS SCREENSHOT.png
//
// hls.js: the player from npm. native: Chromium's own HLS player (`video.src`). Both run on a page of another origin
// than the media, so a missing CORS header shows. SECONDS count from the first moving picture.
import { createServer } from 'node:http';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const [mode, url, secondsText, screenshot] = process.argv.slice(2);
const seconds = Number(secondsText);
if (!['hls.js', 'native'].includes(mode) || !url || !(seconds > 0) || !screenshot) {
  console.error('usage: node browser.mjs hls.js|native URL SECONDS SCREENSHOT.png');
  process.exit(2);
}

// A player that has not shown a moving picture by then will not: hls.js gives up at 20 s.
const START_MS_MAX = 30_000;

const SCREENSHOT_MS_MAX = 10_000;

const page_html = `<!doctype html><meta charset="utf-8"><title>player</title>
<style>body { margin: 0; background: #222 } video { width: 854px; height: 480px }</style>
<video id="video" muted playsinline></video><script src="/hls.js"></script>`;

const server = createServer(async (request, response) => {
  if (request.url === '/hls.js') {
    response.setHeader('content-type', 'text/javascript');
    response.end(await readFile(new URL('node_modules/hls.js/dist/hls.js', import.meta.url)));
  } else if (request.url === '/') {
    response.setHeader('content-type', 'text/html');
    response.end(page_html);
  } else {
    // The browser asks for an icon.
    response.statusCode = 204;
    response.end();
  }
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

const profile = await mkdtemp(join(tmpdir(), 'headwater-chromium-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  viewport: { width: 854, height: 480 },
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--mute-audio',
  ],
});

let report;
const console_lines = [];
try {
  const page = context.pages()[0] ?? (await context.newPage());
  page.on('console', (message) => console_lines.push(message.text()));
  page.on('pageerror', (error) => console_lines.push(`page error: ${error.message}`));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  report = await page.evaluate(play, { mode, url, seconds, start_ms_max: START_MS_MAX });
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
  await context.close();
  server.close();
  await rm(profile, { recursive: true, force: true });
}
console.log(JSON.stringify({ player: mode, url, ...report, screenshot, console: console_lines.slice(0, 20) }));

// Runs in the page.
async function play({ mode, url, seconds, start_ms_max }) {
  const video = document.getElementById('video');
  const began = performance.now();
  const now = () => Math.round(performance.now() - began);
  const report = {
    fatal: [], errors: [], stalls: [], jumps: [], start_ms: null, played_seconds: 0, frames: 0, dropped: 0,
    pictures: 0, frame_gap_ms_max: 0, media_time_backwards: 0, latency_seconds: null, width: 0, height: 0, version: null,
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

  let hls = null;
  if (mode === 'hls.js') {
    report.version = Hls.version;
    hls = new Hls({ debug: false });
    hls.on(Hls.Events.ERROR, (_, data) => {
      const text = `${data.type}/${data.details}${data.reason ? `: ${data.reason}` : ''}${
        data.response ? ` (${data.response.code} ${data.frag?.relurl ?? data.url ?? ''})` : ''}`;
      if (data.fatal) report.fatal.push(text);
      else if (started()) {
        report.errors.push({ text, at_ms: now() });
        if (data.details === 'bufferStalledError') report.stalls.push({ event: data.details, at_ms: now(), media: video.currentTime });
      }
    });
    hls.loadSource(url);
    hls.attachMedia(video);
  } else {
    // Without it a canvas may not look at pictures from another origin.
    video.crossOrigin = 'anonymous';
    report.version = navigator.userAgent.match(/Chrome\/\S+/)?.[0] ?? null;
    report.can_play = video.canPlayType('application/vnd.apple.mpegurl');
    video.src = url;
  }
  video.play().catch((error) => report.errors.push({ text: `play(): ${error.message}`, at_ms: now() }));

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
    if (hls !== null && Number.isFinite(hls.latency)) report.latency_seconds = hls.latency;
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
