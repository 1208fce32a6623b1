// Opens the server's own page over HTTPS in headless Chromium, whatever its certificate, lets it play, and prints as one line of JSON
// how far it came and over which protocol its requests went.
//
//   node secure.mjs 'https://HOST:PORT/?player=...&format=...#APP/STREAM' SECONDS
import { launch } from './chromium.mjs';

const [url, secondsText] = process.argv.slice(2);
const seconds = Number(secondsText);
if (!url?.startsWith('https://') || !(seconds > 0)) {
  console.error("usage: node secure.mjs 'https://HOST:PORT/?player=...&format=...#APP/STREAM' SECONDS");
  process.exit(2);
}

// A player that has not shown a moving picture by then will not: hls.js gives up at 20 s.
const START_MS_MAX = 30_000;

const browser = await launch({ viewport: { width: 1280, height: 900 }, args: ['--ignore-certificate-errors'] });
const complaints = [];
let report;
try {
  const { page } = browser;
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(`page error: ${error.message}`));
  await page.goto(url);
  report = await page.evaluate(watch, { seconds, start_ms_max: START_MS_MAX });
} catch (error) {
  report = { fatal: `runner: ${error.message}` };
} finally {
  await browser.close();
}
console.log(JSON.stringify({ ...report, complaints }));

// Runs in the page.
async function watch({ seconds, start_ms_max }) {
  // The list is 250 long by itself.
  performance.setResourceTimingBufferSize(10_000);
  const video = document.getElementById('video');
  const began = performance.now();
  let first = null;
  let played = 0;
  while (played < seconds && performance.now() - began < start_ms_max + seconds * 2_000) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    if (video.readyState < 2 || video.paused) continue;
    first ??= video.currentTime;
    played = video.currentTime - first;
  }
  // How many of each kind went over each protocol.
  const requests = {};
  for (const { name, nextHopProtocol } of performance.getEntriesByType('resource')) {
    if (!name.startsWith(`${location.origin}/`)) continue;
    const kind = `${new URL(name).pathname.split('.').pop()} ${nextHopProtocol}`;
    requests[kind] = (requests[kind] ?? 0) + 1;
  }
  return { fatal: null, played, requests };
}
