// The map of recorded runs (freeze depth across, learning rate up) and the curve of a live one; see widgets.FreezeExplorer.
// Only where a kernel answers do the buttons appear (kernel.js, put in front of this file); without one the map still answers.

const esc = (s) => String(s).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const f1 = (v) => v.toFixed(1);

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

const CONTROLS = ["i0", "i1", "i2", "i3", "i4"];

function slice(model) {
  const grid = model.get("grid");
  const at = grid.controls.map((c, k) => Math.min(Math.max(model.get(CONTROLS[k]), 0), c.values.length - 1));
  const [depths, rates] = [grid.controls[0].values.length, grid.controls[1].values.length];
  const cell = (d, r) => grid.cells[(at[2] * depths + d) * rates + r];
  const live = model.get("live").filter((run) => run.at[2] === at[2]);
  return { grid, at, depths, rates, cell, live };
}

function sentence({ grid, at, cell, live }) {
  const [depth, rate, labels] = at.map((k, j) => grid.controls[j].values[k]);
  const c = cell(at[0], at[1]);
  const runs = (n) => (n === 1 ? "one run" : `${n} runs`);
  const recorded = c ? `${f1(c[0])}${c[1] === null ? "" : " ± " + f1(c[1])} % (${runs(c[2])}${c[1] === null ? "" : ", ± standard deviation"})` : "not recorded";
  const here = live.filter((run) => run.at[0] === at[0] && run.at[1] === at[1]);
  const latest = here.length ? ` Live: ${here.map((run) => f1(run.value)).join(", ")} % (${here[here.length - 1].note}; ${f1(here[here.length - 1].seconds)} s).` : "";
  return `Freeze depth ${depth} (${grid.frozen[at[0]]}), learning rate ${rate}, ${labels} labels. Recorded ${grid.value}: ${recorded}.${latest}`;
}

function drawMap(s, width) {
  const { grid, at, depths, rates, cell, live } = s;
  const narrow = width < 480, left = narrow ? 66 : 76, w = (width - left - 8) / depths, h = narrow ? 28 : 34, top = 6;
  const known = grid.cells.filter(Boolean).map((c) => c[0]).concat(live.map((run) => run.value));
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
  live.forEach((run) => {
    const [cx, cy, r] = [X(run.at[0]) + w - 8, Y(run.at[1]) + 8, 5];
    out.push(`<polygon class="live" data-tl-live="${run.value}" points="${f1(cx)},${f1(cy - r)} ${f1(cx + r)},${f1(cy)} ${f1(cx)},${f1(cy + r)} ${f1(cx - r)},${f1(cy)}"><title>live ${f1(run.value)} %</title></polygon>`);
  });
  for (let d = 0; d < depths; d++) out.push(`<text class="${d === at[0] ? "bold" : "soft"}" x="${f1(X(d) + w / 2)}" y="${top + rates * h + 16}" text-anchor="middle">${esc(grid.controls[0].values[d])}</text>`);
  for (let r = 0; r < rates; r++) out.push(`<text class="${r === at[1] ? "bold" : "soft"}" x="${left - 6}" y="${f1(Y(r) + h / 2 + 4.5)}" text-anchor="end">${esc(grid.controls[1].values[r])}</text>`);
  const bottom = top + rates * h;
  out.push(`<text class="soft" x="${f1(left + (depths * w) / 2)}" y="${bottom + 34}" text-anchor="middle">${narrow ? "freeze depth" : "freeze depth (stages frozen; the head always trains)"}</text>`,
    `<text class="soft" transform="translate(11 ${f1(top + (rates * h) / 2)}) rotate(-90)" text-anchor="middle">learning rate</text>`);
  return [out.join(""), bottom + 42];
}

function drawCurve(run, width) {
  const losses = run.losses || [], scores = run.accuracies || [];
  if (!losses.length) return ["", 0];
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
    const text = k === 0 ? `${control.values[at[k]]}: ${grid.frozen[at[k]]}` : control.values[at[k]];
    if (target.matches(".noUi-handle")) target.setAttribute("aria-valuetext", text);
  });
}

function render({ model, el }) {
  const grid = model.get("grid");
  el.innerHTML = `<div class="tl-freeze"><p class="tl-title">${esc(grid.title)}</p><div data-tl-view>
    <div class="tl-map" role="img"></div><p class="tl-read" aria-live="polite"></p><p class="tl-plan"></p></div>
    ${RUN_PANEL("Train")}<progress aria-label="progress of the live run" max="100" value="0" hidden></progress>
    <div class="tl-curve" role="img" hidden></div></div>`;
  const part = (name) => el.querySelector(name);
  const [map, read, plan, bar, curve] = [part(".tl-map"), part(".tl-read"), part(".tl-plan"), part("progress"), part(".tl-curve")];
  let started = 0;
  let drawn = "";
  const size = () => Math.min(760, Math.max(300, el.clientWidth || 640));
  const svg = (body, width, height) => `<svg width="${width}" height="${Math.ceil(height)}" viewBox="0 0 ${width} ${Math.ceil(height)}" aria-hidden="true">${body}</svg>`;

  function draw() {
    const s = slice(model), width = size(), picture = svg(...((d) => [d[0], width, d[1]])(drawMap(s, width)));
    if (picture !== drawn) map.innerHTML = drawn = picture;
    const text = sentence(s);
    map.setAttribute("aria-label", `${grid.title}: ${grid.value} by freeze depth and learning rate, ${grid.controls[2].values[s.at[2]]} labels. ${text}`);
    if (read.textContent !== text) read.textContent = text;
    plan.textContent = `Live run: ${grid.controls[3].values[s.at[3]]} epochs, augmentation ${grid.controls[4].values[s.at[4]]}`
      + (kernel.state !== "none" ? ", at this cell of the map." : ". Training needs a kernel: open the chapter in JupyterLab.");
    nameControls(el, s);
  }

  function showRun() {
    const run = model.get("run"), width = size();
    const seconds = started ? (performance.now() - started) / 1000 : run.seconds || 0;
    const usual = run.state === "idle" ? "trains this setting now, on your machine" : run.state === "stopped" ? run.text
      : run.state === "failed" ? `That run failed after ${f1(seconds)} s. ${run.text}` : `${run.text} · ${f1(seconds)} s`;
    const running = panel.draw(run, usual);
    if (running !== Boolean(started)) started = running ? performance.now() : 0;
    bar.hidden = !running;
    if (running && run.steps) bar.value = (100 * run.step) / run.steps; else bar.removeAttribute("value");
    const [body, height] = drawCurve(run, width);
    curve.hidden = kernel.state === "none" || !body;
    curve.innerHTML = body ? svg(body, width, height) : "";
    const last = (run.accuracies || []).slice(-1)[0];
    curve.setAttribute("aria-label", `Curve of the live run: ${(run.losses || []).length} steps${last ? `, validation accuracy ${last[1]} %` : ""}`);
  }

  const kernel = watchKernel(model, el, () => { draw(); showRun(); });
  const panel = runPanel(el, kernel, () => ({ type: "train", at: slice(model).at }));
  const onCell = (event) => {
    const cell = event.target.closest && event.target.closest("[data-d]");
    if (!cell) return;
    model.set("i0", +cell.dataset.d); model.set("i1", +cell.dataset.r); model.save_changes();
  };
  const watched = [...CONTROLS, "live"].map((name) => "change:" + name);
  watched.forEach((name) => model.on(name, draw));
  model.on("change:run", showRun);
  map.addEventListener("click", onCell);
  const clock = setInterval(() => { if (started) { kernel.beat(); showRun(); } }, 250);
  const sizes = new ResizeObserver(() => { draw(); showRun(); });
  sizes.observe(el);
  draw();
  showRun();
  // The sliders beside this view may come later than the view: name them when they have arrived.
  const waits = [50, 300, 1000, 3000].map((ms) => setTimeout(() => nameControls(el, slice(model)), ms));
  kernel.send({ type: "ping" });
  return () => {
    clearInterval(clock); waits.forEach(clearTimeout); sizes.disconnect(); kernel.close();
    watched.forEach((name) => model.off(name, draw));
    model.off("change:run", showRun);
  };
}

export default { render };
