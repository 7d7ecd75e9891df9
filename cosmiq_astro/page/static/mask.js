// The mask: what the threshold flags, and what the reviewer has made of it.

const FREE = 0, ON = 1, OFF = 2; // forced
const CONFIRMED = 1, UNSURE = 2; // notes
const NOTHING = 0, KEPT = 1, TAKEN = 2, GIVEN = 3, OPEN_ON = 4, OPEN_OFF = 5; // codes
const BAD = 1, FLAGGED = 2, PROTECTED = 4; // bits of the state plane

class Mask {
  constructor(facts, planes) {
    this.facts = facts;
    this.level = planes.level;
    this.state = planes.state;
    [this.ny, this.nx] = facts.shape;
    const size = this.ny * this.nx;
    this.base = new Uint8Array(size);
    this.forced = new Uint8Array(size);
    this.code = new Uint8Array(size); // what is drawn, and whether the pixel is flagged
    this.note = new Uint8Array(size);
    this.seen = new Uint8Array(size);
    this.history = [];
    this.stroke = null;
    this.setLevel(facts.level);
  }

  setLevel(level) {
    this.cut = level;
    const { state, base } = this;
    const hidden = BAD | PROTECTED;
    // At the detection's own threshold the mask is that of the detection.
    const own = level === this.facts.level;
    for (let i = 0; i < base.length; i++) {
      base[i] = (own ? state[i] & FLAGGED : this.level[i] >= level && !(state[i] & hidden)) ? 1 : 0;
    }
    if (!own && this.facts.growth > 0) this.grow(this.facts.growth, hidden);
    for (let i = 0; i < base.length; i++) this.encode(i);
  }

  encode(i) {
    const forced = this.forced[i];
    const on = forced === FREE ? this.base[i] : forced === ON ? 1 : 0;
    if (this.note[i] === UNSURE) this.code[i] = on ? OPEN_ON : OPEN_OFF;
    else if (this.state[i] & FLAGGED) this.code[i] = on ? KEPT : TAKEN;
    else this.code[i] = on ? GIVEN : NOTHING;
  }

  grow(radius, hidden) {
    const cores = [];
    this.base.forEach((on, i) => { if (on) cores.push(i); });
    for (const i of cores) {
      for (const j of this.disk(i % this.nx, Math.floor(i / this.nx), radius)) {
        if (!(this.state[j] & hidden)) this.base[j] = 1;
      }
    }
  }

  has(i) {
    const code = this.code[i];
    return code === KEPT || code === GIVEN || code === OPEN_ON;
  }

  isCandidate(i) {
    const state = this.state[i];
    return (this.level[i] >= this.facts.floor && !(state & BAD)) || (state & FLAGGED) !== 0;
  }

  disk(x, y, radius) {
    const pixels = [];
    for (let dy = -radius; dy <= radius; dy++) {
      for (let dx = -radius; dx <= radius; dx++) {
        const inside = x + dx >= 0 && x + dx < this.nx && y + dy >= 0 && y + dy < this.ny;
        if (inside && dx * dx + dy * dy <= radius * radius + 0.25) pixels.push((y + dy) * this.nx + x + dx);
      }
    }
    return pixels;
  }

  // Pixels that pass the test and are joined to the first one by sides or corners.
  group(first, test) {
    if (!test(first)) return [];
    const pixels = [first];
    this.seen[first] = 1;
    for (let k = 0; k < pixels.length; k++) {
      const x = pixels[k] % this.nx, y = (pixels[k] - x) / this.nx;
      for (let b = Math.max(0, y - 1); b <= Math.min(this.ny - 1, y + 1); b++) {
        for (let a = Math.max(0, x - 1); a <= Math.min(this.nx - 1, x + 1); a++) {
          const j = b * this.nx + a;
          if (!this.seen[j] && test(j)) { this.seen[j] = 1; pixels.push(j); }
        }
      }
    }
    for (const i of pixels) this.seen[i] = 0;
    return pixels;
  }

  // All groups of flagged pixels.
  groups() {
    const done = new Uint8Array(this.base.length);
    const found = [];
    for (let i = 0; i < done.length; i++) {
      if (this.code[i] === NOTHING || done[i] || !this.has(i)) continue;
      const pixels = this.group(i, (j) => this.has(j));
      for (const j of pixels) done[j] = 1;
      found.push(pixels);
    }
    return found;
  }

  begin() { this.stroke = new Map(); }

  end() {
    if (this.stroke && this.stroke.size) this.history.push(this.stroke);
    this.stroke = null;
  }

  remember(i) {
    if (!this.stroke.has(i)) this.stroke.set(i, [this.forced[i], this.note[i]]);
  }

  // What cannot be a cosmic ray, since it was bad or protected, stays as it is.
  force(pixels, on) {
    for (const i of pixels) {
      if (this.has(i) === on || (on && this.state[i] & (BAD | PROTECTED))) continue;
      this.remember(i);
      this.forced[i] = (this.base[i] === 1) === on ? FREE : on ? ON : OFF;
      this.note[i] = 0;
      this.encode(i);
    }
  }

  mark(pixels, note) {
    for (const i of pixels) {
      this.remember(i);
      this.note[i] = note;
      this.encode(i);
    }
  }

  undo() {
    const stroke = this.history.pop();
    if (!stroke) return false;
    for (const [i, [forced, note]] of stroke) {
      this.forced[i] = forced;
      this.note[i] = note;
      this.encode(i);
    }
    return true;
  }

  added(i) { return this.has(i) && !(this.state[i] & FLAGGED); }

  removed(i) { return !this.has(i) && (this.state[i] & FLAGGED) !== 0; }

  counts() {
    let pixels = 0, added = 0, removed = 0;
    const { code } = this;
    for (let i = 0; i < code.length; i++) {
      if (code[i] === NOTHING) continue;
      if (this.has(i)) pixels++;
      if (this.added(i)) added++;
      if (this.removed(i)) removed++;
    }
    return { pixels, added, removed };
  }

  // Rows of pixels that pass a test: [y, x, n].
  runs(test) {
    const found = [];
    for (let y = 0; y < this.ny; y++) {
      let start = -1;
      for (let x = 0; x <= this.nx; x++) {
        const on = x < this.nx && test(y * this.nx + x);
        if (on && start < 0) start = x;
        if (!on && start >= 0) { found.push([y, start, x - start]); start = -1; }
      }
    }
    return found;
  }

  forEachOfRuns(runs, act) {
    for (const [y, x, n] of runs) for (let k = 0; k < n; k++) act(y * this.nx + x + k);
  }

  // Take over a file of edits made on this page before.
  load(edits) {
    this.forced.fill(FREE);
    this.note.fill(0);
    this.history = [];
    const nearest = this.facts.edges.reduce(
      (best, edge, k, all) => (Math.abs(edge - edits.threshold) < Math.abs(all[best] - edits.threshold) ? k : best), 0);
    this.setLevel(nearest + 1);
    const wanted = this.state.map((state) => (state & FLAGGED) >> 1);
    this.forEachOfRuns(edits.added, (i) => { wanted[i] = 1; });
    this.forEachOfRuns(edits.removed, (i) => { wanted[i] = 0; });
    for (let i = 0; i < wanted.length; i++) {
      if (wanted[i] !== this.base[i]) this.forced[i] = wanted[i] ? ON : OFF;
    }
    this.forEachOfRuns(edits.confirmed, (i) => { this.note[i] = CONFIRMED; });
    this.forEachOfRuns(edits.unsure, (i) => { this.note[i] = UNSURE; });
    for (let i = 0; i < wanted.length; i++) this.encode(i);
  }
}
