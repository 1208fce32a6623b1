// The server's own player: a continuous MP4 into a SourceBuffer, kept near its live edge. Needs nothing but MediaSource.

// Of media that is there and not yet shown, in seconds: what a network's and a browser's jitter need.
const BEHIND_WANTED = 0.25;
// So much off is caught up with by playing a little faster or slower, which nobody hears.
const BEHIND_TOLERANCE = 0.05;
const RATE_STEP = 0.05;
// Further behind, after a stall or a tab that was hidden, it is caught up with at once.
const BEHIND_MAX = 1.5;
const LOOK_EVERY_MS = 50;

// Media that has been shown is kept for so long, in seconds, and removed in pieces: each removal costs.
const KEPT = 4;
const KEPT_MAX = 12;

// An attempt that got nothing is followed by another one so much later, a few times; then somebody has to be told.
const RETRY_MS = 500;
const ATTEMPTS_MAX = 4;

const MEDIA_ERRORS = { 2: "the network failed", 3: "the picture can't be decoded", 4: "the media can't be played" };

// Plays `url` in `video`, calls `failed` with words when it can't go on, and returns what ends it.
export function builtIn(video, url, failed) {
  let attempt = null;
  let fruitless = 0;
  let timer = 0;
  let ended = false;

  const over = (words, retries) => {
    if (ended) return;
    const wasFruitful = attempt.bytes > 0;
    attempt.end();
    fruitless = wasFruitful ? 0 : fruitless + 1;
    if (retries && fruitless < ATTEMPTS_MAX) {
      // A stream that ended for other tracks goes on at once; what fails is left alone for a moment.
      timer = setTimeout(begin, wasFruitful ? 0 : RETRY_MS);
    } else {
      failed(words);
    }
  };
  const begin = () => {
    attempt = new Attempt(video, url, over);
  };
  const broken = () => {
    const { code, message } = video.error || {};
    over(MEDIA_ERRORS[code] || message || "no reason given", true);
  };
  video.addEventListener("error", broken);
  begin();
  return () => {
    ended = true;
    clearTimeout(timer);
    video.removeEventListener("error", broken);
    video.playbackRate = 1;
    attempt.end();
  };
}

// One response, from its request to its end.
class Attempt {
  constructor(video, url, over) {
    this.video = video;
    this.over = over;
    this.bytes = 0;
    this.waiting = [];
    this.buffer = null;
    this.begun = false;
    this.request = new AbortController();
    // An iPhone's source tells when it wants no more; what is this near its live edge is always wanted.
    const Source = window.ManagedMediaSource || window.MediaSource;
    video.disableRemotePlayback = true;
    this.source = new Source();
    this.address = URL.createObjectURL(this.source);
    const open = new Promise((resolve) => this.source.addEventListener("sourceopen", resolve, { once: true }));
    video.src = this.address;
    this.looks = setInterval(() => this.look(), LOOK_EVERY_MS);
    this.run(url, Source, open).catch((error) => this.stop(error.message));
  }

  async run(url, Source, open) {
    const response = await fetch(url, { signal: this.request.signal, cache: "no-store" });
    if (!response.ok) return this.stop(`HTTP ${response.status}`);
    const type = response.headers.get("content-type");
    // Asking again would not help.
    if (!Source.isTypeSupported(type)) return this.stop(`this browser can't decode ${type}`, false);
    await open;
    this.buffer = this.source.addSourceBuffer(type);
    this.buffer.addEventListener("updateend", () => this.append());
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return this.stop("the stream was interrupted");
      this.bytes += value.byteLength;
      this.waiting.push(value);
      this.append();
    }
  }

  // Everything that came meanwhile goes in at once.
  append() {
    const { buffer, source, waiting, video } = this;
    if (!buffer || buffer.updating || source.readyState !== "open") return;
    const { buffered } = buffer;
    const shown = video.currentTime;
    if (buffered.length && shown - buffered.start(0) > KEPT_MAX) {
      buffer.remove(0, shown - KEPT);
      return;
    }
    if (!waiting.length) return;
    const bytes = new Uint8Array(waiting.reduce((sum, piece) => sum + piece.byteLength, 0));
    let at = 0;
    for (const piece of waiting.splice(0)) {
      bytes.set(piece, at);
      at += piece.byteLength;
    }
    try {
      buffer.appendBuffer(bytes);
    } catch (error) {
      this.stop(error.message);
    }
  }

  // Keeps the picture where it is wanted.
  look() {
    const { video, buffer } = this;
    if (!buffer || this.source.readyState !== "open" || !buffer.buffered.length) return;
    const { buffered } = buffer;
    const edge = buffered.end(buffered.length - 1);
    const first = buffered.start(buffered.length - 1);
    const wanted = Math.max(first, edge - BEHIND_WANTED);
    if (!this.begun) {
      this.begun = true;
      video.currentTime = wanted;
      // Muted playback may start by itself; where it may not, the controls are there.
      video.play().catch(() => {});
      return;
    }
    if (video.paused || video.seeking) return;
    const behind = edge - video.currentTime;
    // Behind a hole nothing will ever come.
    if (behind > BEHIND_MAX || video.currentTime < first || behind < 0) {
      video.currentTime = wanted;
      return;
    }
    const off = behind - BEHIND_WANTED;
    const rate = Math.abs(off) <= BEHIND_TOLERANCE ? 1 : 1 + RATE_STEP * Math.sign(off) * Math.min(2, Math.abs(off) / 0.1);
    if (video.playbackRate !== rate) video.playbackRate = rate;
  }

  stop(words, retries = true) {
    if (!this.request.signal.aborted) this.over(words, retries);
  }

  end() {
    this.request.abort();
    clearInterval(this.looks);
    URL.revokeObjectURL(this.address);
  }
}
