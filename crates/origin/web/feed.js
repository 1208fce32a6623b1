// What the server tells of its streams: by events while it has room for another reader, by asking now and then else.

const ASK_EVERY_MS = 2000;
// Where there was no room for a reader, there may be some later.
const AGAIN_AFTER_MS = 60000;

const keyOf = (stream) => `${stream.app}/${stream.name}`;

// What the page's own address shows, in front of its path or in its query, goes along with everything that is asked for.
const inPath = location.pathname.match(/^\/t\/([^/]+)\//)?.[1];
const inQuery = new URLSearchParams(location.search).get("token");
const shown = inPath || (inQuery && encodeURIComponent(inQuery));
export const withToken = (path) => (shown && path ? `/t/${shown}${path}` : path);
export const ownPath = location.pathname.slice(inPath ? `/t/${inPath}`.length : 0);

const addressed = (stream) => ({
  ...stream,
  url: withToken(stream.url),
  poster: withToken(stream.poster),
  outputs: Object.fromEntries(Object.entries(stream.outputs).map(([format, path]) => [format, withToken(path)])),
});

// Calls `listed` with all streams whenever one of them is another, `measured` with each second's figures, and `lost` when the server
// does not answer, or with the reason why it tells nothing. `quietly`: without figures, which many frames in other pages would ask for in
// vain. Nobody is asked while nobody looks.
export function follow({ listed, measured, lost, quietly }) {
  let streams = new Map();
  let events = null;
  let timer = 0;
  // Of those who ask by turns, the one that goes on.
  let turn = 0;
  let refusedAt = -Infinity;

  const tell = () => listed([...streams.values()].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)));
  const set = (list) => {
    streams = new Map(list.map((stream) => [keyOf(stream), addressed(stream)]));
    tell();
  };

  async function ask() {
    try {
      const response = await fetch(withToken("/api/v1/live"), { cache: "no-store" });
      if (response.status === 401 || response.status === 403) {
        const reason = await response.text();
        if (streams.size) set([]);
        return lost(response.status === 401 ? "A token is needed to see what is live, and to play it" : reason.trim());
      }
      if (!response.ok) throw new Error(String(response.status));
      set(await response.json());
    } catch {
      lost();
    }
  }

  function asking() {
    clearTimeout(timer);
    if (document.hidden) return;
    if (!quietly && performance.now() - refusedAt > AGAIN_AFTER_MS) return listen();
    const mine = ++turn;
    ask().then(() => mine === turn && (timer = setTimeout(asking, ASK_EVERY_MS)));
  }

  function listen() {
    events = new EventSource(withToken("/api/v1/live/events"));
    events.addEventListener("list", ({ data }) => set(JSON.parse(data)));
    events.addEventListener("changed", ({ data }) => {
      const { streams: changed, gone } = JSON.parse(data);
      for (const key of gone) streams.delete(key);
      for (const stream of changed) streams.set(keyOf(stream), addressed(stream));
      tell();
    });
    events.addEventListener("figures", ({ data }) => measured(JSON.parse(data)));
    events.onerror = () => {
      if (!events) return;
      if (events.readyState !== EventSource.CLOSED) return lost();
      // It was refused, and would not try again by itself.
      refusedAt = performance.now();
      silence();
      asking();
    };
  }

  function silence() {
    events?.close();
    events = null;
    turn += 1;
    clearTimeout(timer);
  }

  // A browser has few connections to a server, for all its tabs: one that nobody sees gives up its own.
  document.addEventListener("visibilitychange", () => {
    silence();
    if (!document.hidden) asking();
  });
  addEventListener("pagehide", silence);
  asking();
}
