// Draws one slice of a grid of recorded results as SVG. No library, no network, no kernel needed; see widgets.GridView.
// Only where a kernel answers do the buttons for live runs appear; kernel.js, put in front of this file, sees to that.

const SHAPES = ["circle", "square", "up", "diamond", "down"];
const DASHES = ["", "7 4", "2 3", "9 3 2 3", "4 2"];

const esc = (s) => String(s).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const f1 = (v) => v.toFixed(1);

function shape(kind, x, y, r, attributes) {
  const p = { up: [[0, -1.15], [1.1, 0.85], [-1.1, 0.85]], down: [[0, 1.15], [1.1, -0.85], [-1.1, -0.85]],
    square: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]], diamond: [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]] }[kind];
  if (!p) return `<circle cx="${f1(x)}" cy="${f1(y)}" r="${r}" ${attributes}/>`;
  return `<polygon points="${p.map(([a, b]) => `${f1(x + a * r)},${f1(y + b * r)}`).join(" ")}" ${attributes}/>`;
}

function niceTicks(low, high, most) {
  const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push(+(k * step).toPrecision(12));
  return ticks;
}

// "84.1 ± 0.6": one decimal for percentages and the like, more for small numbers.
function digitsFor(grid) {
  const top = Math.max(...grid.cells.filter(Boolean).map((c) => Math.abs(c[0])), 1e-12);
  return top >= 10 ? 1 : Math.min(6, 3 - Math.floor(Math.log10(top)));
}

function model2slice(model) {
  const grid = model.get("grid");
  const at = grid.controls.map((c, k) => Math.min(Math.max(model.get("i" + k), 0), c.values.length - 1));
  const cellsAt = (index) => {
    let k = 0;
    grid.controls.forEach((c, j) => { k = k * c.values.length + index[j]; });
    return grid.series.map((_, s) => grid.cells[k * grid.series.length + s]);
  };
  const same = (a, b) => a.every((v, j) => v === b[j]);
  const live = model.get("live").find((r) => same(r.at, at));
  return { grid, at, cellsAt, live, allLive: model.get("live"), same };
}

// One range over the whole grid (not the slice): when a slider moves, a longer bar is a better result.
function valueRange(grid, allLive) {
  let low = Infinity, high = -Infinity;
  const see = (v) => { low = Math.min(low, v); high = Math.max(high, v); };
  grid.cells.forEach((c) => { if (c) { see(c[0] - (c[1] || 0)); see(c[0] + (c[1] || 0)); } });
  grid.references.forEach((r) => see(r.value));
  allLive.forEach((r) => Object.values(r.values).forEach(see));
  if (grid.kind === "bars" && low >= 0 && low <= 0.5 * high) low = 0;  // bars begin at 0; else dots are drawn
  const pad = (high - low || Math.abs(high) || 1) * 0.06;
  return [low === 0 ? 0 : low - pad, high + pad];
}

function sentence({ grid, at, cellsAt, live }) {
  const d = digitsFor(grid), unit = grid.unit ? (grid.unit === "%" ? " %" : ` ${grid.unit}`) : "";
  const where = grid.controls.map((c, k) => `${c.label} ${c.values[at[k]]}`).join(", ");
  const cells = cellsAt(at);
  const parts = grid.series.map((s, k) => {
    const c = cells[k];
    if (!c) return `${s.name} not recorded`;
    return `${s.name} ${c[0].toFixed(d)}${c[1] === null ? "" : " ± " + c[1].toFixed(d)}${unit}` + (c[2] === 1 ? " (one run)" : "");
  });
  if (live) Object.entries(live.values).forEach(([name, v]) =>
    parts.push(`live${name === "live" ? "" : " " + name} ${v.toFixed(d)}${unit} (computed in ${live.seconds.toFixed(1)} s)`));
  return `At ${where}: ${parts.join(", ")}.`;
}

function drawBars(slice, width) {
  const { grid, at, cellsAt, live, allLive } = slice, d = digitsFor(grid);
  const names = grid.series.map((s) => s.name);
  const extra = live ? Object.keys(live.values).filter((n) => !names.includes(n)) : [];
  const rows = [...names, ...extra];
  const narrow = width < 480, left = narrow ? 8 : Math.min(200, 16 + 7.6 * Math.max(...rows.map((n) => n.length)));
  const right = allLive.length && !narrow ? 170 : 96, step = narrow ? 58 : 44, top = grid.references.length ? 12 + 16 * grid.references.length : 8;
  const [low, high] = valueRange(grid, allLive), bottom = top + rows.length * step;
  const X = (v) => left + ((v - low) / (high - low)) * (width - left - right);
  const out = [];
  niceTicks(low, high, narrow ? 4 : 6).forEach((t) => {
    out.push(`<line class="rule" x1="${f1(X(t))}" x2="${f1(X(t))}" y1="${top}" y2="${bottom}"/>`,
      `<text class="soft" x="${f1(X(t))}" y="${bottom + 18}" text-anchor="middle">${t}</text>`);
  });
  grid.references.forEach((r, k) => {
    const y = top - 4 - 16 * (grid.references.length - 1 - k), flip = X(r.value) > width - 170;
    out.push(`<line class="ref" x1="${f1(X(r.value))}" x2="${f1(X(r.value))}" y1="${y - 10}" y2="${bottom}"/>`,
      `<text class="soft" x="${f1(X(r.value) + (flip ? -5 : 5))}" y="${y}" text-anchor="${flip ? "end" : "start"}">${esc(r.name)} ${r.value}</text>`);
  });
  const cells = cellsAt(at);
  rows.forEach((name, k) => {
    const y = top + (k + 0.5) * step + (narrow ? 9 : 0), s = grid.series[k], c = cells[k];
    out.push(`<text x="${narrow ? left : left - 10}" y="${f1(narrow ? y - 19 : y + 4.5)}" text-anchor="${narrow ? "start" : "end"}">${esc(name)}</text>`);
    let end = left, text = "not recorded", soft = true;
    if (s && c) {
      const fill = `fill="${s.colour}"`, [mean, sd] = c;
      if (low === 0) out.push(`<rect x="${left}" y="${f1(y - 13)}" width="${f1(Math.max(X(mean) - left, 0))}" height="26" ${fill} rx="2"/>`);
      else out.push(`<line x1="${left}" x2="${f1(X(mean))}" y1="${f1(y)}" y2="${f1(y)}" stroke="${s.colour}" stroke-width="1.5" stroke-dasharray="1 4"/>`,
        shape(SHAPES[k % SHAPES.length], X(mean), y, 7, fill));
      if (sd !== null) out.push(`<path class="ink" fill="none" stroke-width="1.6" d="M${f1(X(mean - sd))} ${f1(y)}H${f1(X(mean + sd))}M${f1(X(mean - sd))} ${f1(y - 6)}v12M${f1(X(mean + sd))} ${f1(y - 6)}v12"/>`);
      end = Math.max(X(mean + (sd || 0)), X(mean) + (low === 0 ? 0 : 8));
      text = mean.toFixed(d) + (sd === null ? "" : ` ± ${sd.toFixed(d)}`);
      soft = false;
    } else if (!s) text = "";
    if (live && name in live.values) {
      const v = live.values[name];
      out.push(shape("diamond", X(v), y, 8, `class="live" data-tl-live="${v}"`));
      if (!s) { end = X(v) + 10; text = v.toFixed(d); soft = false; }
      else { end = Math.max(end, X(v) + 10); text = c ? `${text} · live ${v.toFixed(d)}` : `live ${v.toFixed(d)}`; soft = false; }
    }
    out.push(`<text class="halo${soft ? " soft" : ""}" x="${f1(end + 9)}" y="${f1(y + 4.5)}">${text}</text>`);
  });
  out.push(`<line class="ink" x1="${left}" x2="${left}" y1="${top}" y2="${bottom}"/>`,
    `<text class="soft" x="${f1((left + width - right) / 2)}" y="${bottom + 38}" text-anchor="middle">${esc(grid.value)}${grid.unit ? ` (${esc(grid.unit)})` : ""}</text>`);
  return [out.join(""), bottom + 46];
}

function drawCurves(slice, width) {
  const { grid, at, cellsAt, allLive, same } = slice, d = digitsFor(grid);
  const narrow = width < 480, axis = grid.x.control, xs = grid.x.at, n = xs.length;
  const left = 52, right = narrow ? 16 : Math.min(190, 30 + 7.4 * Math.max(...grid.series.map((s) => s.name.length)));
  const legend = narrow ? 20 * grid.series.length : 0, top = 10 + legend, height = top + Math.min(300, 0.75 * width), bottom = height;
  const [low, high] = valueRange(grid, allLive);
  const log = xs[0] > 0 && xs[n - 1] / xs[0] >= 20, u = xs.map((v) => (log ? Math.log(v) : v));
  const X = (k) => (n === 1 ? (left + width - right) / 2 : left + 12 + ((u[k] - u[0]) / (u[n - 1] - u[0])) * (width - left - right - 24));
  const Y = (v) => bottom - ((v - low) / (high - low)) * (bottom - top);
  const out = [];
  niceTicks(low, high, 6).forEach((t) => {
    out.push(`<line class="rule" x1="${left}" x2="${width - right}" y1="${f1(Y(t))}" y2="${f1(Y(t))}"/>`,
      `<text class="soft" x="${left - 8}" y="${f1(Y(t) + 4)}" text-anchor="end">${t}</text>`);
  });
  let last = -Infinity;
  xs.forEach((_, k) => {
    const label = grid.controls[axis].values[k], half = 3.8 * label.length;
    out.push(`<line class="ink" x1="${f1(X(k))}" x2="${f1(X(k))}" y1="${bottom}" y2="${bottom + 5}"/>`);
    if (X(k) - half < last + 6 && k !== at[axis]) return;
    last = X(k) + half;
    out.push(`<text class="${k === at[axis] ? "bold" : "soft"}" x="${f1(X(k))}" y="${bottom + 20}" text-anchor="middle">${esc(label)}</text>`);
  });
  grid.references.forEach((r) => out.push(`<line class="ref" x1="${left}" x2="${width - right}" y1="${f1(Y(r.value))}" y2="${f1(Y(r.value))}"/>`,
    `<text class="soft halo" x="${left + 6}" y="${f1(Y(r.value) - 5)}">${esc(r.name)} ${r.value}</text>`));
  out.push(`<line x1="${f1(X(at[axis]))}" x2="${f1(X(at[axis]))}" y1="${top}" y2="${bottom}" stroke="currentColor" stroke-width="9" opacity=".12" data-tl-cursor="${at[axis]}"/>`);
  const columns = xs.map((_, k) => cellsAt(at.map((v, j) => (j === axis ? k : v))));
  const labels = [];
  grid.series.forEach((s, j) => {
    const points = columns.map((c, k) => ({ k, c: c[j] })).filter((p) => p.c);
    if (!points.length) { labels.push({ j, y: top + 14 * j, text: `${s.name}: not recorded` }); return; }
    const band = points.filter((p) => p.c[1] !== null);
    if (band.length > 1) out.push(`<polygon fill="${s.colour}" opacity=".18" points="${[
      ...band.map((p) => `${f1(X(p.k))},${f1(Y(p.c[0] + p.c[1]))}`), ...band.reverse().map((p) => `${f1(X(p.k))},${f1(Y(p.c[0] - p.c[1]))}`)].join(" ")}"/>`);
    out.push(`<polyline fill="none" stroke="${s.colour}" stroke-width="2.4" stroke-dasharray="${DASHES[j % DASHES.length]}" points="${points.map((p) => `${f1(X(p.k))},${f1(Y(p.c[0]))}`).join(" ")}"/>`);
    points.forEach((p) => out.push(shape(SHAPES[j % SHAPES.length], X(p.k), Y(p.c[0]), p.k === at[axis] ? 6.5 : 4, `fill="${s.colour}"`)));
    labels.push({ j, y: Y(points[points.length - 1].c[0]), text: s.name });
  });
  allLive.filter((r) => r.at.every((v, j) => j === axis || v === at[j])).forEach((r) => Object.entries(r.values).forEach(([name, v]) => {
    const s = grid.series.find((q) => q.name === name), here = same(r.at, at);
    out.push(shape("diamond", X(r.at[axis]), Y(v), here ? 9 : 6.5, `class="live" data-tl-live="${v}"${s ? ` style="fill:${s.colour}"` : ""}`));
    if (here) out.push(`<text class="bold halo" x="${f1(X(r.at[axis]) + 13)}" y="${f1(Y(v) + 5)}">live ${v.toFixed(d)}</text>`);
  }));
  if (narrow) labels.sort((a, b) => a.j - b.j).forEach((l, k) => { l.x = left; l.y = 14 + 20 * k; });
  else {  // direct labels at the end of the lines, pushed apart where they would touch
    labels.sort((a, b) => a.y - b.y).forEach((l, k) => { l.x = width - right + 8; if (k) l.y = Math.max(l.y, labels[k - 1].y + 19); });
    const over = labels.length ? Math.max(0, labels[labels.length - 1].y - bottom) : 0;
    labels.forEach((l) => { l.y -= over; });
  }
  labels.forEach((l) => out.push(shape(SHAPES[l.j % SHAPES.length], l.x + 5, l.y, 5, `fill="${grid.series[l.j].colour}"`),
    `<text x="${l.x + 16}" y="${f1(l.y + 4.5)}">${esc(l.text)}</text>`));
  out.push(`<line class="ink" x1="${left}" x2="${width - right}" y1="${bottom}" y2="${bottom}"/>`,
    `<text class="soft" x="${f1((left + width - right) / 2)}" y="${bottom + 41}" text-anchor="middle">${esc(grid.controls[axis].label)}${log ? " (log scale)" : ""}</text>`,
    `<text class="soft" transform="translate(13 ${f1((top + bottom) / 2)}) rotate(-90)" text-anchor="middle">${esc(grid.value)}${grid.unit ? ` (${esc(grid.unit)})` : ""}</text>`);
  return [out.join(""), bottom + 50];
}

// ipywidgets gives its sliders no accessible name or value text: add both to the ones beside this view.
function nameControls(el, slice) {
  const box = el.closest(".tl-explorer");
  if (!box) return;
  const rows = [...box.children].filter((row) => !row.contains(el));
  rows.forEach((row, k) => {
    const control = slice.grid.controls[k], target = row.querySelector(".noUi-handle, select");
    if (!control || !target) return;
    target.setAttribute("aria-label", control.label);
    if (target.matches(".noUi-handle")) target.setAttribute("aria-valuetext", control.values[slice.at[k]]);
  });
}

function render({ model, el }) {
  const grid = model.get("grid");
  el.innerHTML = `<div class="tl-view">${grid.title ? `<p class="tl-title">${esc(grid.title)}</p>` : ""}
    <div class="tl-figure" data-tl-view role="img"></div><p class="tl-read" aria-live="polite"></p>${RUN_PANEL("Run live")}</div>`;
  const figure = el.querySelector(".tl-figure"), read = el.querySelector(".tl-read");
  let started = 0;
  let drawn = "";

  function draw() {
    const slice = model2slice(model), width = Math.min(760, Math.max(300, el.clientWidth || 640));
    const [body, height] = (grid.kind === "curves" ? drawCurves : drawBars)(slice, width);
    const text = sentence(slice), note = grid.cells.some((c) => c && c[1] !== null) ? ` (± ${grid.spread})` : "";
    const svg = `<svg width="${width}" height="${Math.ceil(height)}" viewBox="0 0 ${width} ${Math.ceil(height)}" aria-hidden="true">${body}</svg>`;
    if (svg !== drawn) figure.innerHTML = drawn = svg;
    figure.setAttribute("aria-label", `${grid.title ? grid.title.replace(/[.:]$/, "") + (/[?!]$/.test(grid.title) ? " " : ". ") : ""}${text}`);
    if (read.dataset.text !== text) { read.dataset.text = text; read.textContent = text + note; }
    nameControls(el, slice);
  }

  function showState() {
    const s = model.get("status"), seconds = started ? (performance.now() - started) / 1000 : 0;
    const usual = s.state === "running" ? `${s.text} · ${seconds.toFixed(0)} s` : s.state === "done" ? `${s.text}: done in ${s.seconds.toFixed(1)} s`
      : s.state === "stopped" ? s.text : s.state === "failed" ? `That run failed after ${s.seconds.toFixed(1)} s. ${s.text}` : "computes this setting now, on your machine";
    const running = panel.draw(s, usual);
    if (running !== Boolean(started)) started = running ? performance.now() : 0;
  }

  const kernel = watchKernel(model, el, showState);
  const panel = runPanel(el, kernel, () => ({ type: "run", at: model2slice(model).at }));
  const watched = ["i0", "i1", "i2", "live"].map((name) => "change:" + name);
  watched.forEach((name) => model.on(name, draw));
  model.on("change:status", showState);
  const clock = setInterval(() => { if (started) { kernel.beat(); showState(); } }, 500);
  const sizes = new ResizeObserver(draw);
  sizes.observe(el);
  draw();
  // The sliders beside this view may come later than the view: name them when they have arrived.
  const waits = [50, 300, 1000, 3000].map((ms) => setTimeout(() => nameControls(el, model2slice(model)), ms));
  if (model.get("status").state !== "recorded") kernel.send({ type: "ping" });
  return () => {
    clearInterval(clock); waits.forEach(clearTimeout); sizes.disconnect(); kernel.close();
    watched.forEach((name) => model.off(name, draw));
    model.off("change:status", showState);
  };
}

export default { render };
