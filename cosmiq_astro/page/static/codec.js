// The detection, unpacked from the page's own text.

const BLANK = 65535;
const STEP = 0.25;
const SHIFT = 128;

async function inflate(text) {
  const packed = atob(text);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function readFacts() {
  const bytes = await inflate(document.getElementById("facts").textContent.trim());
  return JSON.parse(new TextDecoder().decode(bytes));
}

// Calls `progress` after each tile, so that the image appears piece by piece.
async function readPlanes(facts, progress) {
  const [ny, nx] = facts.shape;
  const planes = { image: new Uint16Array(ny * nx).fill(BLANK) };
  for (const key of ["level", "state", ...Object.keys(facts.largest)]) planes[key] = new Uint8Array(ny * nx);
  const [image, ...others] = Object.values(planes);
  const tiles = document.getElementById("tiles").textContent.trim().split("\n");
  let number = 0;
  for (let y0 = 0; y0 < ny; y0 += facts.tile) {
    for (let x0 = 0; x0 < nx; x0 += facts.tile) {
      const height = Math.min(facts.tile, ny - y0);
      const width = Math.min(facts.tile, nx - x0);
      const bytes = await inflate(tiles[number++]);
      const n = height * width;
      for (let row = 0; row < height; row++) {
        const to = (y0 + row) * nx + x0;
        const from = row * width;
        for (let i = 0; i < width; i++) image[to + i] = bytes[from + i] | (bytes[n + from + i] << 8);
        others.forEach((plane, k) => {
          const start = (k + 2) * n + from;
          plane.set(bytes.subarray(start, start + width), to);
        });
      }
      progress(planes, number / tiles.length);
    }
  }
  return planes;
}

function pixelValue(facts, stored) {
  if (stored === BLANK) return NaN;
  const u = (stored - SHIFT) * STEP;
  return facts.sky + facts.noise * (u + (u * Math.abs(u)) / (4 * facts.curvature));
}

// The probability in the middle of a level; of the lowest, nearly 0.
function levelProbability({ edges }, level) {
  const lower = level ? edges[Math.min(level, edges.length) - 1] : 0;
  return (lower + (edges[level] ?? 1)) / 2;
}

function entropyOf(p) {
  return -p * Math.log(p) - (1 - p) * Math.log1p(-p);
}
