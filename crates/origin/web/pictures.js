// Small pictures: a minute of one figure as a line, and a stream's newest keyframe.

const SVG = "http://www.w3.org/2000/svg";

// Seconds that a line shows.
export const MINUTE = 60;
const HEIGHT = 24;
// Between the highest point and the edge.
const ROOM = 1.2;

// A keyframe is looked at anew so often, and a while later where there was none.
const POSTER_EVERY_MS = 10000;
const POSTER_RETRY_MS = 30000;

// A line of up to a minute of points, newest last; `null` is a second without one. `draw` takes the points.
export function sparkline(label) {
  const node = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const svg = node("svg", {
    class: "spark", viewBox: `0 0 ${MINUTE - 1} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label,
  });
  const area = node("polygon", { class: "area" });
  const line = node("polyline", { class: "line", "vector-effect": "non-scaling-stroke" });
  svg.append(area, line);
  const draw = (points) => {
    const highest = Math.max(...points, 0) * ROOM || 1;
    const first = MINUTE - points.length;
    const places = points
      .map((point, index) => point !== null && `${first + index},${(HEIGHT - 1 - (point / highest) * (HEIGHT - 2)).toFixed(1)}`)
      .filter(Boolean);
    line.setAttribute("points", places.join(" "));
    const [begin, end] = [places[0], places[places.length - 1]].map((place) => place?.split(",")[0]);
    area.setAttribute("points", places.length > 1 ? `${begin},${HEIGHT} ${places.join(" ")} ${end},${HEIGHT}` : "");
  };
  return { svg, draw };
}

// The newest keyframe of a stream, a file of one picture in a muted video that never plays. `look` is called now and then.
export function poster() {
  const frame = document.createElement("div");
  frame.className = "poster";
  let dueAt = 0;
  let tag = null;

  async function look(url) {
    const now = performance.now();
    const { top, bottom } = frame.getBoundingClientRect();
    if (!url || now < dueAt || bottom < 0 || top > innerHeight) return;
    dueAt = now + POSTER_EVERY_MS;
    try {
      const response = await fetch(url, { cache: "no-cache" });
      if (!response.ok) throw new Error(String(response.status));
      if (tag !== null && response.headers.get("etag") === tag) return;
      tag = response.headers.get("etag");
      show(URL.createObjectURL(await response.blob()));
    } catch {
      dueAt = now + POSTER_RETRY_MS;
    }
  }

  // The picture before stays until the new one is there.
  function show(address) {
    const video = document.createElement("video");
    Object.assign(video, { muted: true, playsInline: true, preload: "auto", tabIndex: -1, disableRemotePlayback: true });
    video.setAttribute("aria-hidden", "true");
    const done = () => URL.revokeObjectURL(address);
    video.onloadeddata = () => {
      const before = [...frame.children];
      frame.append(video);
      // Its decoder is one of few that a page may have.
      for (const old of before) {
        old.removeAttribute("src");
        old.load();
        old.remove();
      }
      done();
    };
    video.onerror = done;
    video.src = address;
  }

  return { frame, look };
}
