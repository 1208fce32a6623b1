// Opens the page of a server that asks for tokens, in headless Chromium: without one, with one, with one that has expired; and prints what
// it showed as one line of JSON.
//
//   node guarded.mjs ORIGIN TOKEN EXPIRED
import { launch } from './chromium.mjs';

const [origin, token, expired] = process.argv.slice(2);
if (!origin || !token || !expired) {
  console.error('usage: node guarded.mjs ORIGIN TOKEN EXPIRED');
  process.exit(2);
}

// A player that has not shown a moving picture by then will not.
const START_MS_MAX = 30_000;

const { page, close } = await launch({ viewport: { width: 1280, height: 900 } });
try {
  const report = {
    without: await refused('/'),
    in_path: await played(`/t/${token}/`),
    in_query: await played(`/?token=${token}`),
    framed_seconds: await opened(`/t/${token}/embed/live/cam`).then(moved),
    expired: await refused(`/t/${expired}/`),
  };
  console.log(JSON.stringify(report));
} finally {
  await close();
}

// Between two of them the page is left, for some differ only behind the question mark.
async function opened(path) {
  await page.goto('about:blank');
  await page.goto(`${origin}${path}`);
}

function names() {
  return page.locator('#streams a b').allInnerTexts();
}

async function refused(path) {
  await opened(path);
  await page.locator('#summary.lost').waitFor({ timeout: START_MS_MAX });
  const text = (id) => page.locator(id).innerText();
  return { summary: await text('#summary'), notice: await text('#notice'), streams: await names() };
}

async function played(path) {
  await opened(path);
  const played_seconds = await moved();
  await page.waitForFunction(() => document.querySelector('.poster video')?.videoWidth > 0, null, { timeout: START_MS_MAX });
  return {
    played_seconds,
    streams: await names(),
    poster: await page.evaluate(() => document.querySelector('.poster video').videoWidth),
    lines: await page.locator('#watch code').allInnerTexts(),
  };
}

// How far the picture has moved once it has moved for more than a second; where it stands if it never does.
async function moved() {
  const at = () => page.evaluate(() => document.getElementById('video').currentTime);
  await page.waitForFunction(() => document.getElementById('video').currentTime > 0, null, { timeout: START_MS_MAX });
  const first = await at();
  await page.waitForFunction((first) => document.getElementById('video').currentTime > first + 1, first, { timeout: START_MS_MAX });
  return (await at()) - first;
}
