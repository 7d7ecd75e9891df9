// The canvas: image, overlay, zoom.

// Of the codes of the mask: nothing, flagged, removed, added, unsure.
const MASK_COLOURS = Uint8Array.from([0, 0, 0, 230, 80, 0, 190, 40, 220, 0, 165, 255, 225, 195, 0, 225, 195, 0]);
const MASK_RANKS = Uint8Array.from([0, 1, 2, 3, 4, 4]);
const STOPS = [[31, 12, 72], [120, 28, 109], [187, 55, 84], [237, 105, 37], [251, 182, 26], [252, 255, 164]];

function heat(fraction) {
  const at = Math.min(Math.max(fraction, 0), 1) * (STOPS.length - 1);
  const k = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[k].map((c, i) => c + (at - k) * (STOPS[k + 1][i] - c));
}

// How bright each stored value is shown, 0 to 255.
function stretchTable(facts, stretch, invert) {
  const { sky, noise, zscale, percentiles: [low, high, highest] } = facts;
  const [from, to, curve] = {
    asinh: [sky - 2 * noise, highest, (x) => Math.asinh(x * Math.max((highest - sky) / (3 * noise), 3))],
    log: [low, highest, (x) => Math.log1p(1000 * x)],
    zscale: [...zscale, (x) => x],
    linear: [low, high, (x) => x],
  }[stretch];
  const span = Math.max(to - from, 1e-12);
  const table = new Uint8ClampedArray(65536);
  for (let stored = 0; stored < BLANK; stored++) {
    const x = Math.min(Math.max((pixelValue(facts, stored) - from) / span, 0), 1);
    const grey = (255 * curve(x)) / curve(1);
    table[stored] = invert ? 255 - grey : grey;
  }
  table[BLANK] = 128;
  return table;
}

class View {
  constructor(canvas, facts) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.buffer = document.createElement("canvas");
    this.facts = facts;
    [this.ny, this.nx] = facts.shape;
    this.overlay = "mask";
    this.opacity = 0.7;
    this.hidden = false;
    this.marker = null;
    this.planes = null;
    this.setStretch("asinh", true);
    const levels = Array.from({ length: 256 }, (_, k) => levelProbability(facts, k));
    // The lowest level is left as it is.
    const scaled = (plane, fractions, largest) => ({
      plane,
      largest,
      rank: Uint8Array.from(fractions, (f, k) => (k ? 1 + Math.round(254 * Math.min(f, 1)) : 0)),
      colours: Uint8ClampedArray.from(fractions.flatMap(heat)),
    });
    const root = Array.from({ length: 256 }, (_, k) => (k / 255) ** 2);
    this.scales = {
      mask: { plane: "code", rank: MASK_RANKS, colours: MASK_COLOURS },
      p: scaled("level", levels, 1),
      entropy: scaled("level", levels.map((p) => entropyOf(p) / Math.LN2), Math.LN2),
      std: scaled("std", root, facts.largest.std),
      mi: scaled("mi", root, facts.largest.mi),
    };
    this.resize();
    this.fit();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    this.ratio = ratio;
  }

  fit() {
    this.scale = Math.min(this.canvas.width / this.nx, this.canvas.height / this.ny);
    this.x = (this.nx - 1) / 2;
    this.y = (this.ny - 1) / 2;
    this.request();
  }

  // x and y: a point of the canvas that stays where it is.
  zoom(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const [ix, iy] = this.toImage(x, y);
    const least = 0.5 * Math.min(this.canvas.width / this.nx, this.canvas.height / this.ny);
    this.scale = Math.min(Math.max(this.scale * factor, Math.min(least, 1)), 64);
    this.x = ix - (x - this.canvas.width / 2) / this.scale;
    this.y = iy + (y - this.canvas.height / 2) / this.scale;
    this.request();
  }

  centre(x, y, scale) {
    Object.assign(this, { x, y, scale });
    this.request();
  }

  pan(dx, dy) {
    this.x = Math.min(Math.max(this.x - dx / this.scale, 0), this.nx - 1);
    this.y = Math.min(Math.max(this.y + dy / this.scale, 0), this.ny - 1);
    this.request();
  }

  // Pixel centres have whole numbers; rows count upwards.
  toImage(x, y) {
    return [this.x + (x - this.canvas.width / 2) / this.scale, this.y - (y - this.canvas.height / 2) / this.scale];
  }

  toCanvas(x, y) {
    return [(x - this.x) * this.scale + this.canvas.width / 2, this.canvas.height / 2 - (y - this.y) * this.scale];
  }

  pixelAt(x, y) {
    const [ix, iy] = this.toImage(x, y).map(Math.round);
    return ix >= 0 && ix < this.nx && iy >= 0 && iy < this.ny ? [ix, iy] : null;
  }

  setStretch(stretch, invert) {
    this.table = stretchTable(this.facts, stretch, invert);
    this.request();
  }

  request() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; this.draw(); });
  }

  draw() {
    const { context, canvas } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.planes) return;
    // Far out, blocks of pixels become one: their mean brightness, and the most of what is over them.
    const block = Math.max(1, Math.floor(1 / this.scale));
    const [left, top] = this.toImage(0, 0);
    const [right, bottom] = this.toImage(canvas.width, canvas.height);
    const x0 = Math.floor(Math.max(0, Math.floor(left)) / block) * block;
    const y0 = Math.floor(Math.max(0, Math.floor(bottom)) / block) * block;
    const columns = Math.ceil((Math.min(this.nx - 1, Math.ceil(right)) - x0 + 1) / block);
    const rows = Math.ceil((Math.min(this.ny - 1, Math.ceil(top)) - y0 + 1) / block);
    if (columns < 1 || rows < 1) return;
    this.buffer.width = columns;
    this.buffer.height = rows;
    const target = this.buffer.getContext("2d");
    const picture = target.createImageData(columns, rows);
    this.paint(picture.data, x0, y0, columns, rows, block);
    target.putImageData(picture, 0, 0);
    context.imageSmoothingEnabled = this.scale < 1;
    const [a, b] = this.toCanvas(x0 - 0.5, y0 + rows * block - 0.5);
    context.drawImage(this.buffer, a, b, columns * block * this.scale, rows * block * this.scale);
    if (this.marker) this.drawMarker();
  }

  paint(out, x0, y0, columns, rows, block) {
    // What is over the image: a plane of bytes, the colour of each value, and which of a block's is shown.
    const { plane: name, rank, colours } = this.hidden ? {} : this.scales[this.overlay] ?? {};
    const { image, [name]: plane } = this.planes;
    const { nx, ny, table, opacity } = this;
    for (let row = 0; row < rows; row++) {
      const yLow = y0 + (rows - 1 - row) * block;
      const yHigh = Math.min(yLow + block, ny);
      for (let column = 0; column < columns; column++) {
        const xLow = x0 + column * block;
        const xHigh = Math.min(xLow + block, nx);
        let sum = 0, best = 0, value = 0;
        for (let y = yLow; y < yHigh; y++) {
          for (let i = y * nx + xLow; i < y * nx + xHigh; i++) {
            sum += table[image[i]];
            if (plane && rank[plane[i]] > best) { value = plane[i]; best = rank[value]; }
          }
        }
        const grey = sum / ((yHigh - yLow) * (xHigh - xLow));
        const at = 4 * (row * columns + column);
        for (let k = 0; k < 3; k++) {
          out[at + k] = best ? grey + opacity * (colours[3 * value + k] - grey) : grey;
        }
        out[at + 3] = 255;
      }
    }
  }

  drawMarker() {
    const { context } = this;
    const [x, y] = this.toCanvas(this.marker.x, this.marker.y);
    const radius = Math.max((2 + Math.sqrt(this.marker.area)) * this.scale, 8 * this.ratio);
    for (const [colour, width] of [["rgba(255,255,255,0.9)", 4], ["#0b62c4", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width * this.ratio;
      context.strokeRect(x - radius, y - radius, 2 * radius, 2 * radius);
      if (this.scale >= 4) this.drawOutline(this.marker.pixels);
    }
  }

  // The sides of pixels whose neighbour is not one of them.
  drawOutline(pixels) {
    const { context, nx } = this;
    const inside = new Set(pixels);
    context.beginPath();
    for (const i of pixels) {
      const x = i % nx, y = (i - x) / nx;
      const sides = [[-1, 0], [1, 0], [0, -1], [0, 1]];
      for (const [dx, dy] of sides) {
        const beyond = x + dx < 0 || x + dx >= nx || !inside.has(i + dx + dy * nx);
        if (!beyond) continue;
        const ends = dx ? [[dx / 2, -0.5], [dx / 2, 0.5]] : [[-0.5, dy / 2], [0.5, dy / 2]];
        const [a, b] = ends.map(([u, v]) => this.toCanvas(x + u, y + v));
        context.moveTo(...a);
        context.lineTo(...b);
      }
    }
    context.stroke();
  }
}
