// The browser players from npm, on a page of another origin than the media, so that a missing CORS header shows.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';

// Each player's script below node_modules; native is Chromium's own HLS player (`video.src`), which has none.
export const SCRIPTS = {
  'hls.js': 'hls.js/dist/hls.js',
  'shaka': 'shaka-player/dist/shaka-player.compiled.js',
  'dash.js': 'dashjs/dist/modern/umd/dash.all.min.js',
  'mpegts.js': 'mpegts.js/dist/mpegts.js',
  'native': null,
};

// Serves a page with this body and the scripts of these players. Returns its address and what closes it.
export async function serve_page(modes, body) {
  const scripts = [...new Set(modes)].map((mode) => SCRIPTS[mode]).filter(Boolean);
  const page_html = `<!doctype html><meta charset="utf-8"><title>player</title>
<style>body { margin: 0; background: #222 }</style>
${body}${scripts.map((script) => `<script src="/${script}"></script>`).join('')}`;
  const server = createServer(async (request, response) => {
    const script = scripts.find((script) => request.url === `/${script}`);
    if (script) {
      response.setHeader('content-type', 'text/javascript');
      response.end(await readFile(new URL(`node_modules/${script}`, import.meta.url)));
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
  return { address: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

// Runs in the page: has `mode` play `url` in `video`, with the settings that the player comes with and what `settings` changes of
// them. `fatal`, `error` and `stalled` are called with what it says, `trapped` when hls.js has begun where it is known to stand still at times
// (ARCHITECTURE.md, "What players were seen to do"), `heard` with the timed metadata that it hands on: a kind (`id3`,
// `scte35`, `daterange`), bytes or attributes, and the time on its own clock in seconds. Returns its version, a function for the seconds behind the
// live edge by its own reckoning, and the instance of hls.js.
export async function start_player({
  mode, video, url, settings = {}, fatal, error, stalled, trapped = () => {}, heard = () => {},
}) {
  let version;
  let latency = () => NaN;
  let hls;
  if (mode === 'hls.js') {
    version = Hls.version;
    hls = new Hls({ debug: false, ...settings });
    hls.on(Hls.Events.ERROR, (_, data) => {
      const text = `${data.type}/${data.details}${data.reason ? `: ${data.reason}` : ''}${
        data.response ? ` (${data.response.code} ${data.frag?.relurl ?? data.url ?? ''})` : ''}`;
      if (data.fatal) fatal(text);
      else {
        error(text);
        if (data.details === 'bufferStalledError') stalled(data.details);
      }
    });
    // Its first parts end with their segment's last but one, and by the time that they are parsed a playlist has completed the segment: it takes
    // what it has for all of it.
    let has_begun = false;
    hls.on(Hls.Events.FRAG_PARSED, (_, { frag, part }) => {
      if (has_begun || frag.type !== 'main') return;
      has_begun = true;
      const { fragments = [], partList } = hls.levels[frag.level]?.details ?? {};
      const of_it = (part) => part.fragment.sn === frag.sn;
      const last = Math.max(...(partList ?? []).filter(of_it).map((part) => part.index));
      if (part?.index === last - 1 && fragments.some(({ sn }) => sn === frag.sn)) trapped();
    });
    const kinds = { 'org.id3': 'id3', 'https://aomedia.org/emsg/ID3': 'id3', 'urn:scte:scte35:2013:bin': 'scte35' };
    hls.on(Hls.Events.FRAG_PARSING_METADATA, (_, { samples }) => {
      for (const { type, data, pts } of samples) if (type in kinds) heard(kinds[type], data, pts);
    });
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
      for (const { attr, startTime } of Object.values(details.dateRanges)) heard('daterange', { ...attr }, startTime);
    });
    hls.loadSource(url);
    hls.attachMedia(video);
    latency = () => hls.latency;
  } else if (mode === 'shaka') {
    version = shaka.Player.version;
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    player.configure(settings);
    const note = (problem) => {
      // Without a code it is an error of the player's own making.
      const what = problem.code ? JSON.stringify(problem.data)?.slice(0, 300) : problem.stack ?? problem;
      const text = `shaka ${problem.category}/${problem.code}: ${what}`;
      if (problem.severity === shaka.util.Error.Severity.CRITICAL) fatal(text);
      else error(text);
    };
    player.addEventListener('error', (event) => note(event.detail));
    player.addEventListener('emsg', ({ detail }) => {
      heard(detail.schemeIdUri.endsWith('ID3') ? 'id3' : 'scte35', detail.messageData, detail.startTime);
    });
    await player.attach(video);
    try {
      // It resolves when the manifest is read and the first segments are asked for; play() before that is interrupted.
      await player.load(url);
    } catch (problem) {
      note(problem);
      fatal(`load(): ${problem.message}`);
    }
    latency = () => player.getStats().liveLatency;
  } else if (mode === 'dash.js') {
    const player = dashjs.MediaPlayer().create();
    version = player.getVersion();
    player.updateSettings({ debug: { logLevel: dashjs.Debug.LOG_LEVEL_WARNING } });
    player.updateSettings(settings);
    player.on(dashjs.MediaPlayer.events.ERROR, (event) => {
      fatal(`dash.js ${event.error?.code ?? ''}: ${event.error?.message ?? JSON.stringify(event.error)}`);
    });
    for (const [kind, scheme] of [['id3', 'https://aomedia.org/emsg/ID3'], ['scte35', 'urn:scte:scte35:2013:bin']]) {
      player.on(scheme, ({ event }) => heard(kind, event.messageData, event.calculatedPresentationTime));
    }
    player.initialize(video, url, true);
    latency = () => player.getCurrentLiveLatency();
  } else if (mode === 'mpegts.js') {
    version = mpegts.version;
    // By the ending of its address, as its own example has it.
    const type = new URL(url).pathname.endsWith('.ts') ? 'mpegts' : 'flv';
    const player = mpegts.createPlayer({ type, isLive: true, url }, settings);
    player.on(mpegts.Events.ERROR, (kind, detail, info) => fatal(`mpegts.js ${kind}/${detail}: ${JSON.stringify(info)}`));
    player.on(mpegts.Events.TIMED_ID3_METADATA_ARRIVED, ({ data, pts }) => heard('id3', data, pts / 1000));
    player.on(mpegts.Events.SCTE35_METADATA_ARRIVED, ({ data, pts }) => heard('scte35', data, pts / 1000));
    const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    player.on(mpegts.Events.SCRIPTDATA_ARRIVED, ({ onCuePoint, onAdCue }) => {
      if (onCuePoint?.name === 'id3') heard('id3', bytes(onCuePoint.parameters.tag), onCuePoint.time);
      if (onAdCue) heard('scte35', bytes(onAdCue.cue), onAdCue.time);
    });
    player.attachMediaElement(video);
    player.load();
    latency = () => (video.buffered.length ? video.buffered.end(video.buffered.length - 1) - video.currentTime : NaN);
  } else {
    // Without it a canvas may not look at pictures from another origin.
    video.crossOrigin = 'anonymous';
    version = navigator.userAgent.match(/Chrome\/\S+/)?.[0] ?? null;
    video.src = url;
  }
  // dash.js starts by itself, and stops reloading the MPD for good when play() came before it had attached its listeners.
  if (mode !== 'dash.js') video.play().catch((problem) => error(`play(): ${problem.message}`));
  return { version, latency, hls };
}
