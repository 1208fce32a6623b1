// Several players side by side on one page, until this program's standard input ends; then prints, as one line of JSON, when
// each one's picture moved and stood still. For tests in which a publisher or the server fails under open players.
//
//   node faults.mjs '[{"name":"...","mode":"hls.js|shaka|dash.js|native","url":"..."}, ...]' SCREENSHOT.png
import { launch } from './chromium.mjs';
import { serve_page, start_player } from './players.mjs';

const [listText, screenshot] = process.argv.slice(2);
const players = JSON.parse(listText ?? 'null');
if (!Array.isArray(players) || !screenshot) {
  console.error('usage: node faults.mjs \'[{"name":"...","mode":"...","url":"..."}]\' SCREENSHOT.png');
  process.exit(2);
}

// Pictures further apart than this stand still in between.
const STAND_MS = 700;

const videos = players.map(() => '<video muted playsinline width="320" height="180"></video>').join('');
const server = await serve_page(players.map(({ mode }) => mode), videos);
const browser = await launch({
  viewport: { width: 1000, height: 600 },
  args: ['--autoplay-policy=no-user-gesture-required'],
});
const ended = new Promise((resolve) => process.stdin.on('end', resolve).resume());
let report;
try {
  await browser.page.goto(server.address);
  await browser.page.evaluate(`window.start_player = ${start_player}`);
  await browser.page.evaluate(watch, { players, stand_ms: STAND_MS });
  await ended;
  report = await browser.page.evaluate(() => window.watched());
  await browser.page.screenshot({ path: screenshot, timeout: 10_000 }).catch(() => {});
} catch (error) {
  report = players.map(({ name }) => ({ name, first: null, last: null, stands: [], said: [{ at: Date.now(), text: `runner: ${error.message}` }] }));
} finally {
  await browser.close();
  server.close();
}
console.log(JSON.stringify(report));

// Runs in the page. Times are milliseconds since 1970.
function watch({ players, stand_ms }) {
  const report = players.map(({ name }) => ({ name, first: null, last: null, stands: [], said: [] }));
  window.watched = () => report;
  document.querySelectorAll('video').forEach((video, index) => {
    const { mode, url } = players[index];
    const entry = report[index];
    // The last ones matter when a player stands still; a player that repeats itself must not fill the report.
    const say = (text) => {
      entry.said.push({ at: Date.now(), text });
      if (entry.said.length > 200) entry.said.splice(100, 1);
    };
    const on_frame = () => {
      const at = Date.now();
      entry.first ??= at;
      if (entry.last !== null && at - entry.last > stand_ms) entry.stands.push({ from: entry.last, to: at });
      entry.last = at;
      video.requestVideoFrameCallback(on_frame);
    };
    video.requestVideoFrameCallback(on_frame);
    video.addEventListener('error', () => say(`fatal: video ${video.error?.code} ${video.error?.message}`));
    video.addEventListener('ended', () => say('ended'));
    start_player({
      mode, video, url, fatal: (text) => say(`fatal: ${text}`), error: say, stalled: () => {},
    }).catch((error) => say(`fatal: ${error.message}`));
  });
}
