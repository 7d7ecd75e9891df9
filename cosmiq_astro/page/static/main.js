// The controls.

const ROW = 24;
const NOTES = [["", ""], ["✓", ", right"], ["?", ", unsure"]]; // of none, CONFIRMED and UNSURE
const el = (id) => document.getElementById(id);

function hitPixels(app, number) {
  if (!app.pixels.has(number)) {
    app.pixels.set(number, app.mask.group(app.facts.hits.seed[number], (i) => app.mask.isCandidate(i)));
  }
  return app.pixels.get(number);
}

function compact(value) {
  return Math.abs(value) >= 1e5 ? value.toExponential(1) : String(Math.round(value * 100) / 100);
}

function showList(app) {
  const { hits } = app.facts;
  const box = el("hits"), inner = box.firstElementChild;
  inner.style.height = `${hits.seed.length * ROW}px`;
  inner.textContent = "";
  const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 2);
  const last = Math.min(hits.seed.length, first + Math.ceil(box.clientHeight / ROW) + 5);
  for (let k = first; k < last; k++) {
    const pixels = hitPixels(app, k);
    const flagged = pixels.some((i) => app.mask.has(i));
    const changed = pixels.some((i) => app.mask.forced[i]);
    const [sign, text] = NOTES[app.mask.note[hits.seed[k]]];
    const row = document.createElement("div");
    row.className = "hit";
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", k === app.current);
    row.style.top = `${k * ROW}px`;
    row.dataset.number = k;
    const mark = (flagged ? "●" : "○") + (sign || (changed ? "✎" : ""));
    const cells = [mark, hits.x[k].toFixed(1), hits.y[k].toFixed(1), hits.area[k], compact(hits.charge[k]),
      hits.p[k].toFixed(2), hits.entropy[k].toFixed(3)];
    for (const cell of cells) row.appendChild(document.createElement("span")).textContent = cell;
    row.title = (flagged ? "flagged" : "not flagged") + text;
    inner.appendChild(row);
  }
}

function goTo(app, number) {
  const { hits } = app.facts;
  if (!hits.seed.length) return;
  app.current = Math.min(Math.max(number, 0), hits.seed.length - 1);
  const box = el("hits"), top = app.current * ROW;
  if (top < box.scrollTop || top > box.scrollTop + box.clientHeight - ROW) box.scrollTop = top - box.clientHeight / 2;
  const k = app.current;
  app.view.marker = { x: hits.x[k], y: hits.y[k], area: hits.area[k], pixels: hitPixels(app, k) };
  app.view.centre(hits.x[k], hits.y[k], Math.max(app.view.scale, 12 * app.view.ratio));
  showList(app);
}

function showExpected(app, p) {
  const { curve } = app.facts;
  if (!curve) {
    el("expected").textContent = `The model ${app.facts.model} has no curve of expected precision and recall.`;
    return;
  }
  const { threshold } = curve;
  let k = threshold.findIndex((t) => t >= p);
  if (k < 0) k = threshold.length - 1;
  const before = Math.max(k - 1, 0);
  const span = threshold[k] - threshold[before];
  const part = span > 0 ? Math.min(Math.max((p - threshold[before]) / span, 0), 1) : 0;
  const at = (column) => (100 * (column[before] + part * (column[k] - column[before]))).toFixed(1);
  el("expected").textContent = `Expected: precision ${at(curve.precision)}\u00a0%, recall ${at(curve.recall)}\u00a0%, ` +
    `where ${(100 * curve.hit_fraction).toFixed(1)}\u00a0% of the pixels are hit: on ${curve.frames ?? "the model's validation frames"}.`;
}

function showCounts(app) {
  const { mask, facts } = app;
  const p = facts.edges[mask.cut - 1];
  el("value").textContent = p.toFixed(3);
  showExpected(app, p);
  const counts = mask.counts();
  const number = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
  el("changes").textContent = `${number(counts.added, "pixel")} added, ${number(counts.removed, "pixel")} removed`;
  el("undo").disabled = !mask.history.length;
  clearTimeout(app.counting);
  const text = (hits) => `${number(counts.pixels, "pixel")} flagged${hits}`;
  el("counts").textContent = text(", …");
  // Hits are counted when the slider rests.
  app.counting = setTimeout(() => { el("counts").textContent = text(`, ${number(mask.groups().length, "hit")}`); }, 120);
}

function refresh(app) {
  app.view.request();
  showCounts(app);
  showList(app);
}

function change(app, act) {
  app.mask.begin();
  act();
  app.mask.end();
  app.saved = false;
  refresh(app);
}

function judge(app, kind) {
  if (app.current < 0) return goTo(app, 0);
  const pixels = hitPixels(app, app.current);
  change(app, () => {
    if (kind === "toggle") app.mask.force(pixels, !pixels.some((i) => app.mask.has(i)));
    else app.mask.mark(pixels, kind === "right" ? CONFIRMED : UNSURE);
  });
  return goTo(app, app.current + 1);
}

function toggleHit(app, i) {
  const { mask } = app;
  const on = mask.has(i);
  const pixels = on ? mask.group(i, (j) => mask.has(j)) : mask.group(i, (j) => mask.isCandidate(j));
  if (!pixels.length) say(app, "nothing here that the network takes for a hit: use Add");
  else change(app, () => mask.force(pixels, !on));
}

function say(app, text) {
  el("readout").textContent = text;
}

function showPixel(app, pixel) {
  if (!pixel) return;
  const { facts, view } = app;
  const i = pixel[1] * view.nx + pixel[0];
  const p = levelProbability(facts, view.planes.level[i]);
  const value = pixelValue(facts, view.planes.image[i]);
  let text = `x ${pixel[0]}  y ${pixel[1]}   ${Number.isNaN(value) ? "no value" : `${Number(value.toPrecision(4))} ${facts.unit}`}`;
  if (view.planes.state[i] & BAD) text += "   bad pixel";
  else {
    text += `   p ${p.toFixed(3)}   entropy ${entropyOf(p).toFixed(3)}`;
    for (const [key, label] of [["std", "uncertainty"], ["mi", "mutual information"]]) {
      if (view.planes[key]) text += `   ${label} ${((view.planes[key][i] / 255) ** 2 * facts.largest[key]).toPrecision(2)}`;
    }
  }
  say(app, text);
}

function setTool(app, tool) {
  app.tool = tool;
  document.querySelector(`input[name="tool"][value="${tool}"]`).checked = true;
  el("canvas").classList.toggle("paint", tool !== "look");
}

function listenToPointer(app) {
  const canvas = el("canvas");
  let last = null, panning = false;
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * app.view.ratio, (event.clientY - box.top) * app.view.ratio];
  };
  const paint = (from, to) => {
    const n = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1])));
    for (let k = 0; k <= n; k++) {
      const [x, y] = from.map((start, axis) => Math.round(start + (k / n) * (to[axis] - start)));
      app.mask.force(app.mask.disk(x, y, Number(el("brush").value)), app.tool === "add");
    }
    app.saved = false;
    app.view.request();
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = where(event);
    panning = app.tool === "look" || event.button !== 0;
    const pixel = app.view.pixelAt(...last);
    if (panning) return;
    if (app.tool === "hit") {
      if (pixel) toggleHit(app, pixel[1] * app.view.nx + pixel[0]);
    } else {
      app.mask.begin();
      if (pixel) paint(pixel, pixel);
    }
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = where(event);
    if (last && panning) app.view.pan(now[0] - last[0], now[1] - last[1]);
    else if (last && app.mask.stroke) paint(app.view.toImage(...last), app.view.toImage(...now));
    if (last) last = now;
    showPixel(app, app.view.pixelAt(...now));
  });
  const stop = () => {
    last = null;
    if (!app.mask.stroke) return;
    app.mask.end();
    refresh(app);
  };
  canvas.addEventListener("pointerup", stop);
  canvas.addEventListener("pointercancel", stop);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    app.view.zoom(Math.exp(-event.deltaY * 0.002), ...where(event));
  }, { passive: false });
}

function listenToKeys(app) {
  const press = (id) => () => el(id).click();
  const brush = (step) => () => { el("brush").value = Number(el("brush").value) + step; };
  const keys = {
    n: press("next"), p: press("previous"), c: press("right"), x: press("toggle"), u: press("unsure"),
    b: press("blink"), "+": press("in"), "=": press("in"), "-": press("out"), 0: press("fit"),
    v: () => setTool(app, "look"), a: () => setTool(app, "add"), e: () => setTool(app, "erase"),
    h: () => setTool(app, "hit"), "[": brush(-1), "]": brush(1),
    m: () => { app.view.hidden = true; app.view.request(); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.target.tagName === "SELECT") return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key === "z") { event.preventDefault(); el("undo").click(); }
      return;
    }
    const act = keys[event.key];
    if (act && !event.altKey) { event.preventDefault(); act(); }
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === "m") { app.view.hidden = false; app.view.request(); }
  });
}

function setOverlay(app) {
  app.view.overlay = el("overlay").value;
  const largest = app.view.scales[app.view.overlay]?.largest;
  el("legend").hidden = !largest;
  const unit = ["entropy", "mi"].includes(app.view.overlay) ? " nat" : "";
  if (largest) el("highest").textContent = `${Number(largest.toPrecision(2))}${unit}`;
  app.view.request();
}

function blink(app) {
  const on = !app.blinking;
  clearInterval(app.blinking);
  app.blinking = on ? setInterval(() => { app.view.hidden = !app.view.hidden; app.view.request(); }, 500) : null;
  app.view.hidden = false;
  app.view.request();
  el("blink").setAttribute("aria-pressed", on);
}

async function loadEdits(app, file) {
  let edits = null;
  try {
    edits = JSON.parse(await file.text());
  } catch {
    // Said below: it is none.
  }
  const problem = checkEdits(app.facts, edits);
  if (problem) { say(app, problem); return; }
  app.mask.load(edits);
  el("threshold").value = app.mask.cut;
  el("complete").checked = edits.complete;
  refresh(app);
}

function listen(app) {
  const { view, mask, facts } = app;
  const on = (id, kind, act) => el(id).addEventListener(kind, act);
  const stem = facts.name.replace(/[^\w.+-]/g, "_");
  const stretch = () => view.setStretch(el("stretch").value, el("invert").checked);
  on("stretch", "change", stretch);
  on("invert", "change", stretch);
  on("overlay", "change", () => setOverlay(app));
  on("opacity", "input", () => { view.opacity = Number(el("opacity").value); view.request(); });
  on("blink", "click", () => blink(app));
  on("in", "click", () => view.zoom(1.5));
  on("out", "click", () => view.zoom(1 / 1.5));
  on("one", "click", () => view.zoom(view.ratio / view.scale));
  on("fit", "click", () => view.fit());
  on("threshold", "input", () => { mask.setLevel(Number(el("threshold").value)); app.saved = false; refresh(app); });
  on("reset", "click", () => { el("threshold").value = facts.level; mask.setLevel(facts.level); refresh(app); });
  on("undo", "click", () => { if (mask.undo()) refresh(app); });
  on("next", "click", () => goTo(app, app.current + 1));
  on("previous", "click", () => goTo(app, app.current - 1));
  for (const kind of ["right", "toggle", "unsure"]) on(kind, "click", () => judge(app, kind));
  on("hits", "scroll", () => showList(app));
  on("hits", "click", (event) => {
    const row = event.target.closest(".hit");
    if (row) goTo(app, Number(row.dataset.number));
  });
  on("save", "click", () => {
    const edits = editsOf(facts, mask, el("complete").checked);
    saveAs(JSON.stringify(edits), "application/json", `${stem}_edits.json`);
    app.saved = true;
  });
  on("load", "change", (event) => { if (event.target.files.length) loadEdits(app, event.target.files[0]); });
  on("fits", "click", () => saveAs(fitsMask(facts, mask), "application/fits", `${stem}_mask.fits`));
  on("regions", "click", () => saveAs(regionsOf(mask), "text/plain", `${stem}.reg`));
  for (const radio of document.querySelectorAll('input[name="tool"]')) {
    radio.addEventListener("change", () => setTool(app, radio.value));
  }
  new ResizeObserver(() => { view.resize(); view.request(); showList(app); }).observe(el("stage"));
  window.addEventListener("beforeunload", (event) => { if (!app.saved) event.preventDefault(); });
}

async function start() {
  const facts = await readFacts();
  el("name").textContent = facts.name;
  el("about").textContent = `${facts.shape[1]} × ${facts.shape[0]} pixels, model ${facts.model}, T = ${facts.T}, ` +
    `threshold ${facts.threshold.toFixed(3)}, cosmiq_astro ${facts.version}`;
  for (const option of [...el("overlay").options]) {
    if (["std", "mi"].includes(option.value) && !(option.value in facts.largest)) option.remove();
  }
  el("threshold").max = facts.edges.length;
  el("threshold").value = facts.level;
  const view = new View(el("canvas"), facts);
  let shown = 0;
  const planes = await readPlanes(facts, (some, part) => {
    view.planes = some;
    el("readout").textContent = `loading… ${Math.round(100 * part)} %`;
    // To draw the whole image after every tile would take longer than to read it.
    if (performance.now() - shown < 400 && part < 1) return;
    shown = performance.now();
    view.request();
  });
  const mask = new Mask(facts, planes);
  planes.code = mask.code;
  const app = { facts, view, mask, tool: "look", current: -1, pixels: new Map(), saved: true };
  listen(app);
  listenToPointer(app);
  listenToKeys(app);
  refresh(app);
  say(app, `${facts.hits.total.toLocaleString("en")} hits or candidates; press n for the first to look at`);
  document.body.dataset.ready = "yes";
  window.review = app;
}

start().catch((error) => { el("readout").textContent = `the page cannot be shown: ${error.message}`; });
