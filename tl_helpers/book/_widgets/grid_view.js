// Draws one slice of a grid of recorded results as SVG, and the progress of a live run; see widgets.GridView. No library, no
// network, no kernel needed: only where one answers do the buttons for live runs appear. kernel.js, put in front of this
// file, sees to that, and address.js to the page's address.

const SHAPES = ["circle", "square", "up", "diamond", "down"];
const DASHES = ["", "7 4", "2 3", "9 3 2 3", "4 2"];

const esc = (s) => String(s).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const f1 = (v) => v.toFixed(1);

function shape(kind, x, y, r, attributes, inside = "") {
  const p = { up: [[0, -1.15], [1.1, 0.85], [-1.1, 0.85]], down: [[0, 1.15], [1.1, -0.85], [-1.1, -0.85]],
    square: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]], diamond: [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]] }[kind];
  if (!p) return `<circle cx="${f1(x)}" cy="${f1(y)}" r="${r}" ${attributes}/>`;
  return `<polygon points="${p.map(([a, b]) => `${f1(x + a * r)},${f1(y + b * r)}`).join(" ")}" ${attributes}>${inside}</polygon>`;
}

// Cividis, thinned: readable for colour-blind readers, and darker always means worse.
const RAMP = [[0, 34, 78], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [254, 232, 56]];
function colourOf(share) {
  const t = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1), k = Math.min(Math.floor(t), RAMP.length - 2);
  return RAMP[k].map((v, j) => Math.round(v + (RAMP[k + 1][j] - v) * (t - k)));
}

// WCAG's relative luminance: at 0.18 black and white letters have the same contrast.
function luminance(rgb) {
  const linear = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
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

function slice(model) {
  const grid = model.get("grid"), allLive = model.get("live");
  const at = grid.controls.map((c, k) => Math.min(Math.max(model.get("i" + k), 0), c.values.length - 1));
  const recorded = grid.controls.filter((c) => !c.live);
  const cellsAt = (index) => {
    let k = 0;
    recorded.forEach((c, j) => { k = k * c.values.length + index[j]; });
    return grid.series.map((_, s) => grid.cells[k * grid.series.length + s]);
  };
  const same = (a, b) => a.every((v, j) => v === b[j]);
  const here = allLive.filter((r) => same(r.at, at));
  return { grid, at, recorded, cellsAt, here, live: here[0], allLive, same };
}

// The value of a control, and how a sentence names it.
const shown = (c, k) => (c.notes ? `${c.values[k]}: ${c.notes[k]}` : c.values[k]);
const said = (c, k) => (c.said || `${c.label} {}`).replace("{}", () => c.values[k]) + (c.notes ? ` (${c.notes[k]})` : "");
const only = (run) => Object.values(run.values)[0];

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

function sentence({ grid, at, recorded, cellsAt, here, live }) {
  const where = recorded.map((c, k) => said(c, at[k])).join(", "), cells = cellsAt(at);
  if (grid.kind === "map") {
    const [c] = cells, last = here[here.length - 1], runs = c && (c[2] === 1 ? "one run" : `${c[2]} runs`);
    const found = c ? `${f1(c[0])}${c[1] === null ? "" : ` ± ${f1(c[1])}`} % (${runs}${c[1] === null ? "" : ", ± standard deviation"})` : "not recorded";
    return `${where[0].toUpperCase()}${where.slice(1)}. Recorded ${grid.value}: ${found}.`
      + (last ? ` Live: ${here.map((run) => f1(only(run))).join(", ")} % (${last.note}; ${f1(last.seconds)} s).` : "");
  }
  const d = digitsFor(grid), unit = grid.unit ? (grid.unit === "%" ? " %" : ` ${grid.unit}`) : "";
  const parts = grid.series.map((s, k) => {
    const c = cells[k];
    if (!c) return `${s.name} not recorded`;
    return `${s.name} ${c[0].toFixed(d)}${c[1] === null ? "" : " ± " + c[1].toFixed(d)}${unit}` + (c[2] === 1 ? " (one run)" : "");
  });
  if (live) Object.entries(live.values).forEach(([name, v]) =>
    parts.push(`live${name === "live" ? "" : " " + name} ${v.toFixed(d)}${unit} (computed in ${live.seconds.toFixed(1)} s)`));
  return `At ${where}: ${parts.join(", ")}.`;
}

// What a screen reader says of the figure, before the sentence.
function heading({ grid, at, recorded }) {
  if (grid.kind !== "map") return grid.title && grid.title.replace(/[.:]$/, "") + (/[?!]$/.test(grid.title) ? " " : ". ");
  const [across, up, ...rest] = recorded;
  return `${grid.title}: ${grid.value} by ${[`${across.label} and ${up.label}`, ...rest.map((c, k) => said(c, at[k + 2]))].join(", ")}. `;
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

function drawMap(slice, width) {
  const { grid, at, cellsAt, allLive, same } = slice, [across, up] = grid.controls, rest = at.slice(2);
  const depths = across.values.length, rates = up.values.length, cell = (d, r) => cellsAt([d, r, ...rest])[0];
  const live = allLive.filter((run) => same(run.at.slice(2), rest));
  const narrow = width < 480, left = narrow ? 66 : 76, w = (width - left - 8) / depths, h = narrow ? 28 : 34, top = 6;
  const known = grid.cells.filter(Boolean).map((c) => c[0]).concat(live.map(only));
  const low = Math.min(...known), high = Math.max(...known), share = (v) => (v - low) / (high - low || 1);
  const X = (d) => left + d * w, Y = (r) => top + (rates - 1 - r) * h, out = [];
  for (let d = 0; d < depths; d++) for (let r = 0; r < rates; r++) {
    const c = cell(d, r), place = `x="${f1(X(d) + 1)}" y="${f1(Y(r) + 1)}" width="${f1(w - 2)}" height="${h - 2}" rx="2" class="cell${c ? "" : " none"}" data-d="${d}" data-r="${r}"`;
    if (!c) { out.push(`<rect ${place}/>`); continue; }
    const rgb = colourOf(share(c[0])), dark = luminance(rgb) < 0.18;
    out.push(`<rect ${place} fill="rgb(${rgb})"/>`,
      `<text x="${f1(X(d) + w / 2)}" y="${f1(Y(r) + h / 2 + 4.5)}" text-anchor="middle" pointer-events="none" style="fill:${dark ? "#fff" : "#000"};font-size:${narrow ? 10 : 12.5}px">${narrow ? Math.round(c[0]) : f1(c[0])}</text>`);
  }
  const [x, y] = [X(at[0]), Y(at[1])];
  out.push(`<rect class="chosen" x="${f1(x)}" y="${f1(y)}" width="${f1(w)}" height="${h}" rx="3"/>`,
    `<rect class="chosen-inner" x="${f1(x + 2.4)}" y="${f1(y + 2.4)}" width="${f1(w - 4.8)}" height="${f1(h - 4.8)}" rx="2"/>`);
  live.forEach((run) => out.push(shape("diamond", X(run.at[0]) + w - 8, Y(run.at[1]) + 8, 4, `class="live" data-tl-live="${only(run)}"`,
    `<title>live ${f1(only(run))} %</title>`)));
  for (let d = 0; d < depths; d++) out.push(`<text class="${d === at[0] ? "bold" : "soft"}" x="${f1(X(d) + w / 2)}" y="${top + rates * h + 16}" text-anchor="middle">${esc(across.values[d])}</text>`);
  for (let r = 0; r < rates; r++) out.push(`<text class="${r === at[1] ? "bold" : "soft"}" x="${left - 6}" y="${f1(Y(r) + h / 2 + 4.5)}" text-anchor="end">${esc(up.values[r])}</text>`);
  const bottom = top + rates * h;
  out.push(`<text class="soft" x="${f1(left + (depths * w) / 2)}" y="${bottom + 34}" text-anchor="middle">${esc((!narrow && across.axis) || across.label)}</text>`,
    `<text class="soft" transform="translate(11 ${f1(top + (rates * h) / 2)}) rotate(-90)" text-anchor="middle">${esc(up.label)}</text>`);
  return [out.join(""), bottom + 42];
}

const DRAW = { bars: drawBars, curves: drawCurves, map: drawMap };

function drawProgress(run, width) {
  const { losses, accuracies: scores = [] } = run;
  const left = 44, right = 44, top = 22, height = 120, bottom = top + height;
  const end = Math.max(run.steps || 0, losses[losses.length - 1][0], 2), worst = Math.max(...losses.map((p) => p[1]));
  const X = (step) => left + ((step - 1) / (end - 1)) * (width - left - right), Y = (v) => bottom - (v / (worst || 1)) * height;
  const low = Math.min(50, ...scores.map((p) => p[1])), S = (v) => bottom - ((v - low) / (100 - low)) * height;
  const line = (points, y) => points.map((p) => `${f1(X(p[0]))},${f1(y(p[1]))}`).join(" ");
  const out = [`<path class="axis" d="M${left} ${top}V${bottom}H${width - right}V${top}"/>`,
    `<polyline class="loss" data-tl-points="${losses.length}" points="${line(losses, Y)}"/>`,
    `<text class="soft" x="${left - 5}" y="${top + 5}" text-anchor="end">${worst.toPrecision(2)}</text><text class="soft" x="${left - 5}" y="${bottom + 4}" text-anchor="end">0</text>`,
    `<text class="soft" x="${width - right + 5}" y="${top + 5}">100</text><text class="soft" x="${width - right + 5}" y="${bottom + 4}">${Math.round(low)}</text>`,
    // The names are in ink, each behind a piece of its line: the lines' colours are too faint for letters.
    `<path class="loss" d="M${left} ${top - 12}h22"/><text x="${left + 28}" y="${top - 8}">training loss</text>`,
    `<path class="score" d="M${width - right - 22} ${top - 12}h22"/><text x="${width - right - 28}" y="${top - 8}" text-anchor="end">validation accuracy (%)</text>`,
    `<text class="soft" x="${f1(width / 2)}" y="${bottom + 18}" text-anchor="middle">step, of ${end}</text>`];
  if (scores.length) out.push(`<polyline class="score" points="${line(scores, S)}"/>`,
    ...scores.map((p) => `<circle cx="${f1(X(p[0]))}" cy="${f1(S(p[1]))}" r="4.5" fill="#D55E00"/>`));
  return [out.join(""), bottom + 26];
}

// ipywidgets gives its sliders no accessible name or value text: add both to the ones beside this view.
function nameControls(el, { grid, at }) {
  const box = el.closest(".tl-explorer");
  if (!box) return;
  [...box.children].filter((row) => !row.contains(el)).forEach((row, k) => {
    const control = grid.controls[k], target = row.querySelector(".noUi-handle, select");
    if (!control || !target) return;
    target.setAttribute("aria-label", control.label);
    if (target.matches(".noUi-handle")) target.setAttribute("aria-valuetext", shown(control, at[k]));
  });
}

function render({ model, el }) {
  const grid = model.get("grid"), names = grid.controls.map((_, k) => "i" + k), onlyLive = grid.controls.filter((c) => c.live);
  el.innerHTML = `<div class="tl-view tl-${grid.kind}">${grid.title ? `<p class="tl-title">${esc(grid.title)}</p>` : ""}
    <div data-tl-view><div class="tl-figure" role="img"></div><p class="tl-read" aria-live="polite"></p><p class="tl-plan"${onlyLive.length ? "" : " hidden"}></p></div>
    ${RUN_PANEL(esc(grid.button))}<progress aria-label="progress of the live run" max="100" value="0" hidden></progress>
    <div class="tl-progress" role="img" hidden></div></div>`;
  const [figure, read, plan, bar, curve] = [".tl-figure", ".tl-read", ".tl-plan", "progress", ".tl-progress"].map((name) => el.querySelector(name));
  let started = 0;
  let drawn = "";
  const size = () => Math.min(760, Math.max(300, el.clientWidth || 640));
  const svg = ([body, height], width) => `<svg width="${width}" height="${Math.ceil(height)}" viewBox="0 0 ${width} ${Math.ceil(height)}" aria-hidden="true">${body}</svg>`;

  function draw() {
    const s = slice(model), width = size(), picture = svg(DRAW[grid.kind](s, width), width), text = sentence(s);
    if (picture !== drawn) figure.innerHTML = drawn = picture;
    figure.setAttribute("aria-label", heading(s) + text);
    const full = text + (grid.kind !== "map" && grid.cells.some((c) => c && c[1] !== null) ? ` (± ${grid.spread})` : "");
    if (read.textContent !== full) read.textContent = full;
    if (onlyLive.length) plan.textContent = `Live run: ${onlyLive.map((c) => said(c, s.at[grid.controls.indexOf(c)])).join(", ")}`
      + (kernel.state !== "none" ? ", at this cell of the map." : ". Training needs a kernel: open the chapter in JupyterLab.");
    nameControls(el, s);
  }

  function showRun() {
    const run = model.get("run"), width = size(), losses = run.losses || [], seconds = started ? (performance.now() - started) / 1000 : 0;
    const running = panel.draw(run, run.state === "running" ? `${run.text} · ${seconds.toFixed(0)} s` : run.text);
    if (running !== Boolean(started)) started = running ? performance.now() : 0;
    bar.hidden = !(running && run.losses);
    if (running && run.steps) bar.value = (100 * run.step) / run.steps; else bar.removeAttribute("value");
    curve.hidden = kernel.state === "none" || !losses.length;
    curve.innerHTML = losses.length ? svg(drawProgress(run, width), width) : "";
    const last = (run.accuracies || []).slice(-1)[0];
    curve.setAttribute("aria-label", `Curve of the live run: ${losses.length} steps${last ? `, validation accuracy ${last[1]} %` : ""}`);
  }

  const show = () => { draw(); showRun(); };
  const kernel = watchKernel(model, el, show);
  const panel = runPanel(el, kernel, () => ({ type: "run", at: slice(model).at }));
  const leaveAddress = watchAddress(model);
  const watched = [...names, "live"].map((name) => "change:" + name);
  watched.forEach((name) => model.on(name, draw));
  model.on("change:run", showRun);
  figure.addEventListener("click", (event) => {
    const cell = event.target.closest("[data-d]");
    if (!cell) return;
    model.set("i0", +cell.dataset.d);
    model.set("i1", +cell.dataset.r);
    model.save_changes();
  });
  const clock = setInterval(() => { if (started) { kernel.beat(); showRun(); } }, 500);
  const sizes = new ResizeObserver(show);
  sizes.observe(el);
  show();
  // The sliders beside this view may come later than the view: name them when they have arrived.
  const waits = [50, 300, 1000, 3000].map((ms) => setTimeout(() => nameControls(el, slice(model)), ms));
  if (model.get("run").state !== "recorded") kernel.send({ type: "ping" });
  return () => {
    clearInterval(clock); waits.forEach(clearTimeout); sizes.disconnect(); kernel.close(); leaveAddress();
    watched.forEach((name) => model.off(name, draw));
    model.off("change:run", showRun);
  };
}

export default { render };
