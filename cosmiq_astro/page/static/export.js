// What the page saves: edits, a mask, regions.

function editsOf(facts, mask, complete) {
  return {
    format: facts.format,
    name: facts.name,
    extver: facts.extver,
    shape: facts.shape,
    exposure: facts.exposure,
    mask: facts.mask,
    model: facts.model,
    threshold: facts.edges[mask.cut - 1],
    saved: new Date().toISOString(),
    complete,
    added: mask.runs((i) => mask.added(i)),
    removed: mask.runs((i) => mask.removed(i)),
    confirmed: mask.runs((i) => mask.note[i] === CONFIRMED),
    unsure: mask.runs((i) => mask.note[i] === UNSURE),
  };
}

function checkEdits(facts, edits) {
  if (!edits || edits.format !== facts.format) return "this is not an edits file of this page's format";
  if (edits.exposure !== facts.exposure) return `these edits belong to another exposure, ${edits.name}`;
  if (edits.mask !== facts.mask) return "these edits belong to another detection on this exposure";
  return "";
}

function fitsCard(key, value, comment) {
  const text = typeof value === "string" ? `'${value.padEnd(8)}'` : (value === true ? "T" : String(value)).padStart(20);
  return `${key.padEnd(8)}= ${text} / ${comment}`.slice(0, 80).padEnd(80);
}

function fitsMask(facts, mask) {
  const cards = [
    fitsCard("SIMPLE", true, "conforms to FITS"),
    fitsCard("BITPIX", 8, "unsigned bytes"),
    fitsCard("NAXIS", 2, "image"),
    fitsCard("NAXIS1", mask.nx, "columns"),
    fitsCard("NAXIS2", mask.ny, "rows"),
    fitsCard("ORIGIN", "cosmiq_astro review", "1 for cosmic rays"),
    fitsCard("CRVISRC", facts.exposure, "digest of the exposure"),
    fitsCard("CRVITHR", facts.edges[mask.cut - 1], "threshold of the slider"),
    "END".padEnd(80),
  ];
  const head = cards.join("");
  const size = mask.nx * mask.ny;
  const start = Math.ceil(head.length / 2880) * 2880;
  const bytes = new Uint8Array(start + Math.ceil(size / 2880) * 2880);
  bytes.fill(32, 0, start);
  for (let k = 0; k < head.length; k++) bytes[k] = head.charCodeAt(k);
  for (let i = 0; i < size; i++) bytes[start + i] = mask.has(i) ? 1 : 0;
  return bytes;
}

// DS9 counts pixels from 1.
function regionsOf(mask) {
  const lines = ["# Region file format: DS9 version 4.1", "image"];
  for (const pixels of mask.groups()) {
    let x = 0, y = 0;
    for (const i of pixels) { x += i % mask.nx; y += Math.floor(i / mask.nx); }
    x /= pixels.length;
    y /= pixels.length;
    const reach = Math.max(...pixels.map((i) => Math.hypot((i % mask.nx) - x, Math.floor(i / mask.nx) - y)));
    lines.push(`circle(${(x + 1).toFixed(2)},${(y + 1).toFixed(2)},${(reach + 1.5).toFixed(2)})`);
  }
  return `${lines.join("\n")}\n`;
}

function saveAs(content, type, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
