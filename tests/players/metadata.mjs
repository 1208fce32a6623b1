// Several players side by side on one page, until this program's standard input ends; then prints, as one line of JSON, what timed
// metadata each of them handed on, each tag and each range once.
//
//   node metadata.mjs '[{"name":"...","mode":"hls.js|shaka|dash.js","url":"...","settings":{}}, ...]'
import { launch } from './chromium.mjs';
import { serve_page, start_player } from './players.mjs';

const players = JSON.parse(process.argv[2] ?? 'null');
if (!Array.isArray(players)) {
  console.error('usage: node metadata.mjs \'[{"name":"...","mode":"...","url":"..."}]\'');
  process.exit(2);
}

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
  await browser.page.evaluate(watch, players);
  await ended;
  report = await browser.page.evaluate(() => window.watched());
} catch (error) {
  report = players.map(({ name }) => ({ name, heard: [], said: [`runner: ${error.message}`] }));
} finally {
  await browser.close();
  server.close();
}
console.log(JSON.stringify(report));

// Runs in the page.
function watch(players) {
  const report = players.map(({ name }) => ({ name, played: 0, heard: [], said: [] }));
  window.watched = () => {
    document.querySelectorAll('video').forEach((video, index) => (report[index].played = video.currentTime));
    return report;
  };
  const plain = (what) => {
    if (!(what instanceof Uint8Array) && !(what instanceof ArrayBuffer)) return what;
    return [...new Uint8Array(what)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  };
  document.querySelectorAll('video').forEach((video, index) => {
    const { mode, url, settings } = players[index];
    const entry = report[index];
    const known = new Set();
    const say = (text) => entry.said.length < 100 && entry.said.push(text);
    const heard = (kind, what, time) => {
      const said = { kind, what: plain(what), time };
      const key = JSON.stringify([kind, said.what]);
      if (!known.has(key)) entry.heard.push(said);
      known.add(key);
    };
    start_player({ mode, video, url, settings, fatal: (text) => say(`fatal: ${text}`), error: say, stalled: say, heard });
  });
}
