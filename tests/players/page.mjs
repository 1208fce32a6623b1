// Opens the server's own page in headless Chromium, plays a stream with everything that the page offers, and prints what
// happened as one line of JSON.
//
//   node page.mjs ORIGIN APP/STREAM SECONDS SCREENSHOT_PREFIX
//
// Each choice is opened by its address, as a link would, and watched for SECONDS from the first moving picture. Then one page
// goes through all choices with its list, and is reloaded on the last one.
import { launch } from './chromium.mjs';

const [origin, stream, secondsText, screenshots] = process.argv.slice(2);
const seconds = Number(secondsText);
if (!origin || !stream || !(seconds > 0) || !screenshots) {
  console.error('usage: node page.mjs ORIGIN APP/STREAM SECONDS SCREENSHOT_PREFIX');
  process.exit(2);
}

// A player that has not shown a moving picture by then will not: hls.js gives up at 20 s.
const START_MS_MAX = 30_000;

// What the page does by itself, such as listing the streams.
const PAGE_MS_MAX = 10_000;

// Without leave to start videos: the page's is muted, and must start all the same.
const { context, page, close } = await launch({ viewport: { width: 1280, height: 900 } });

const report = {
  fatal: [], embedded: [], streams: [], policy: '', looks: null, choices: [], switched: [], reloaded: null, framed: null, latency: '',
};
// What went wrong in the page since it was last asked for.
let complaints = [];
let requests = [];
let workers = 0;
const taken = () => complaints.splice(0);

try {
  // Told by the browser itself, whether or not the page's code catches the error.
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      console.error(`CSP: ${event.effectiveDirective} ${event.blockedURI}`);
    });
    window.shifted = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
    }).observe({ type: 'layout-shift', buffered: true });
  });
  page.on('console', (message) => message.type() === 'error' && complaints.push(`${message.text()} ${message.location().url}`));
  page.on('pageerror', (error) => complaints.push(`page error: ${error.message}`));
  page.on('request', (request) => requests.push(request.url()));
  page.on('worker', () => { workers += 1; });

  const answers = [];
  page.on('response', (response) => answers.push(response));
  const first = await page.goto(`${origin}/#${stream}`);
  report.policy = first.headers()['content-security-policy'] ?? '';
  await page.locator('#with').waitFor({ timeout: PAGE_MS_MAX });
  report.embedded = (await page.locator('html').getAttribute('data-players')).split(' ').filter(Boolean);
  report.streams = await page.locator('#streams a').evaluateAll((links) => links.map((link) => link.innerText));
  report.looks = { ...await looks(), own_bytes: await ownBytes(answers, report.embedded), complaints: taken() };
  report.looks.foreign = foreign();
  const labels = await page.locator('#choice option').allInnerTexts();
  const addresses = [];
  for (const label of labels) {
    await page.getByLabel('Play as').selectOption({ label });
    addresses.push({ label, address: page.url() });
  }

  for (const { label, address } of addresses) {
    // Not from this page to this page: that would be a jump to a fragment.
    await page.goto('about:blank');
    taken();
    requests = [];
    workers = 0;
    await page.goto(address);
    const choice = { label, address, ...await watched(seconds) };
    choice.shown = await shown();
    choice.scripts = [...new Set(requests.filter((url) => url.startsWith(`${origin}/assets/`)).map((url) => url.split('/').pop()))];
    choice.manifests = [...new Set(requests.map((url) => url.split('/').pop()).filter((name) => /^[a-z]+\.(m3u8|mpd|mp4)$/.test(name)))];
    choice.workers = workers;
    choice.foreign = foreign();
    choice.complaints = taken();
    await page.screenshot({ path: `${screenshots}-${report.choices.length}.png` }).catch(() => {});
    report.choices.push(choice);
  }

  // By keyboard, one after the other, in one page.
  await page.goto('about:blank');
  await page.goto(`${origin}/`);
  await page.locator('#with').waitFor({ timeout: PAGE_MS_MAX });
  for (const [index, label] of labels.entries()) {
    await page.getByLabel('Play as').focus();
    if (index > 0) {
      // The picture of the player before must not pass for the new one's.
      await page.evaluate(() => {
        window.emptied = false;
        document.getElementById('video').addEventListener('emptied', () => { window.emptied = true; }, { once: true });
      });
      await page.keyboard.press('ArrowDown');
      await page.waitForFunction(() => window.emptied, null, { timeout: PAGE_MS_MAX });
    }
    report.switched.push({ label, ...await watched(2), shown: await shown(), complaints: taken() });
  }
  await page.reload();
  report.reloaded = { ...await watched(2), shown: await shown(), complaints: taken() };
  // In a frame of another page there is the player and nothing else.
  await page.goto('about:blank');
  requests = [];
  await page.goto(`${origin}/embed/${stream}`);
  report.framed = { ...await watched(2), shown: await shown(), complaints: taken() };
  report.framed.follows = requests.some((url) => url.endsWith('/api/v1/live/events'));
  report.framed.surroundings = await page.locator('header, .caption, .tiles, .findings, .streams, .lines').evaluateAll(
    (all) => all.filter((one) => one.checkVisibility()).length);
  await page.goto(`${origin}/#${stream}`);
  // What the server says of the publisher's media, once it has measured it.
  await page.locator('#latency').waitFor({ timeout: 2 * PAGE_MS_MAX });
  report.latency = await page.locator('#latency').innerText();
} catch (error) {
  report.fatal.push(`runner: ${error.message}`, ...taken());
  await page?.screenshot({ path: `${screenshots}-failed.png` }).catch(() => {});
} finally {
  await close();
}
console.log(JSON.stringify(report));

function foreign() {
  return requests.filter((url) => !url.startsWith(`${origin}/`) && !/^(blob|data):/.test(url));
}

// What a browser loads before it plays anything: the page and its files, without the players that a build may have.
async function ownBytes(answers, players) {
  let bytes = 0;
  for (const answer of answers) {
    const { pathname } = new URL(answer.url());
    const isOwn = pathname === '/' || (pathname.startsWith('/assets/') && !players.includes(pathname.split('/').pop()));
    if (isOwn && answer.status() === 200) bytes += (await answer.body()).length;
  }
  return bytes;
}

// What the page shows beside the player: figures that move, the stream's picture, lines to copy; and how that looks.
async function looks() {
  const points = (place) => page.evaluate((place) => document.querySelector(`${place} polyline`).getAttribute('points') ?? '', place);
  const many = (text) => text.split(' ').filter(Boolean).length;
  const until = (place, count) => page.waitForFunction(({ place, count }) => {
    const points = document.querySelector(`${place} polyline`)?.getAttribute('points') ?? '';
    return points.split(' ').filter(Boolean).length >= count;
  }, { place, count }, { timeout: 2 * PAGE_MS_MAX });
  await until('#bitrate-minute', 2);
  const before = await points('#bitrate-minute');
  await until('#bitrate-minute', many(before) + 3);
  await until('#frame-rate-minute', 3);
  await until('#streams', 3);
  const found = {
    moves: before !== (await points('#bitrate-minute')),
    bitrate: await page.locator('#bitrate').innerText(),
    frame_rate: await page.locator('#frame-rate').innerText(),
    viewers: await page.locator('#viewers').innerText(),
  };
  await page.waitForFunction(() => document.querySelector('.poster video')?.readyState >= 2, null, { timeout: PAGE_MS_MAX });
  found.poster = await page.evaluate(() => {
    const video = document.querySelector('.poster video');
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [64, 36];
    const pixels = canvas.getContext('2d');
    pixels.drawImage(video, 0, 0, canvas.width, canvas.height);
    const data = new Uint32Array(pixels.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return { width: video.videoWidth, height: video.videoHeight, colours: new Set(data).size, paused: video.paused };
  });
  // Before anybody has touched anything.
  found.shifted = await page.evaluate(() => window.shifted);

  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin });
  found.lines = [];
  for (const line of await page.locator('#publish > div, #watch > div').all()) {
    await line.getByRole('button').click();
    await line.getByText('Copied', { exact: true }).waitFor({ timeout: PAGE_MS_MAX });
    found.lines.push({
      label: await line.locator('dt').innerText(),
      text: await line.locator('code').textContent(),
      copied: await page.evaluate(() => navigator.clipboard.readText()),
    });
  }

  // From the top, by keyboard alone.
  await page.evaluate(() => { document.activeElement?.blur(); scrollTo(0, 0); });
  await page.locator('h1').click();
  const reached = new Set();
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => {
      const { id, tagName } = document.activeElement;
      return id || document.activeElement.getAttribute('href') || tagName;
    }));
  }
  found.reached = [...reached];

  found.sizes = [];
  for (const colorScheme of ['light', 'dark']) {
    for (const [name, width, height] of [['phone', 390, 844], ['desktop', 1280, 900]]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height });
      const path = `${screenshots}-${name}-${colorScheme}.png`;
      await page.screenshot({ path, fullPage: true });
      found.sizes.push(await page.evaluate((name) => ({
        name,
        overflow: document.documentElement.scrollWidth - innerWidth,
        paper: getComputedStyle(document.body).backgroundColor,
      }), `${name}-${colorScheme}`));
    }
  }
  await page.emulateMedia({ colorScheme: null });
  return found;
}

// The choice that the page's list shows, and what the page says about it.
function shown() {
  return page.evaluate(() => ({
    choice: document.getElementById('choice').selectedOptions[0]?.textContent ?? null,
    notice: document.getElementById('notice').textContent,
    hint: document.getElementById('hint').textContent,
  }));
}

// Waits for a moving picture and watches it; says how far its clock ran and how many different pictures were seen.
async function watched(seconds) {
  return page.evaluate(async ({ seconds, start_ms_max }) => {
    const video = document.getElementById('video');
    const canvas = document.createElement('canvas');
    canvas.width = 160;
    canvas.height = 90;
    const pixels = canvas.getContext('2d', { willReadFrequently: true });
    const picture = () => {
      pixels.drawImage(video, 0, 0, canvas.width, canvas.height);
      const data = pixels.getImageData(0, 0, canvas.width, canvas.height).data;
      let hash = 2166136261;
      for (let i = 0; i < data.length; i += 1) hash = Math.imul(hash ^ data[i], 16777619);
      return hash;
    };
    const began = performance.now();
    const pause = () => new Promise((resolve) => setTimeout(resolve, 200));
    const report = { start_ms: null, played_seconds: 0, pictures: 0, behind_seconds: null };
    let before = video.currentTime;
    for (;;) {
      await pause();
      if (performance.now() - began > start_ms_max) return report;
      const now = video.currentTime;
      if (video.readyState >= 2 && !video.paused && now > before && before > 0 && now - before < 1) break;
      before = now;
    }
    report.start_ms = Math.round(performance.now() - began);
    const first = video.currentTime;
    const seen = new Set();
    const behind = [];
    const until = performance.now() + seconds * 1000;
    while (performance.now() < until) {
      await pause();
      seen.add(picture());
      // What the player has and does not yet show.
      if (video.buffered.length) behind.push(video.buffered.end(video.buffered.length - 1) - video.currentTime);
      // Forward only: a player that went back to where it was has not played.
      report.played_seconds = Math.max(report.played_seconds, video.currentTime - first);
    }
    report.pictures = seen.size;
    report.behind_seconds = behind.sort((a, b) => a - b)[behind.length >> 1] ?? null;
    return report;
  }, { seconds, start_ms_max: START_MS_MAX });
}
