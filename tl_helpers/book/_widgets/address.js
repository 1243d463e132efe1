// The settings of a page's controls in its address, such as #depth=5&rate=0.001 (see widgets/grid.py); stands between
// kernel.js and grid_view.js. Only a page that carries its widgets along, as the built book does, has an address to set.

// The start and the keys of one view's controls. Every view of the page is looked at, whether it is drawn already or not.
function addressed(me) {
  const carried = (what) => [...document.querySelectorAll(`script[type="application/vnd.jupyter.widget-${what}+json"]`)]
    .map((tag) => JSON.parse(tag.textContent));
  const models = Object.assign({}, ...carried("state").map((page) => page.state)), seen = new Map();
  const state = (id) => (models[id] && models[id].state) || {};
  const below = (id) => [id, ...[].concat(state(id).children || []).flatMap((child) => below(child.replace("IPY_MODEL_", "")))];
  for (const id of new Set(carried("view").flatMap((view) => below(view.model_id)))) {
    const controls = (state(id).grid || {}).controls || [];
    const keys = controls.map(({ key }) => {
      seen.set(key, (seen.get(key) || 0) + 1);
      return seen.get(key) === 1 ? key : `${key}.${seen.get(key)}`;
    });
    if (id === me) return { keys, start: controls.map((_, k) => state(id)["i" + k] || 0) };
  }
  return { keys: [] };
}

// Take the setting from the address, now and when it changes, and write what the reader changes into it: what differs from
// the start. Other keys stay, and so does the anchor of a heading until then. Returns what ends that.
function watchAddress(model) {
  const { keys, start } = addressed(model.get("me"));
  if (!keys.length) return () => {};
  const { controls } = model.get("grid"), names = keys.map((_, k) => "change:i" + k);
  const settings = () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  let reading = false, timer = 0;

  function read() {
    const asked = settings();
    if (!keys.some((key) => asked.has(key))) return;
    reading = true;
    keys.forEach((key, k) => {
      const at = controls[k].values.indexOf(asked.get(key));
      model.set("i" + k, at < 0 ? start[k] : at);
    });
    model.save_changes();
    reading = false;
  }

  function write() {
    const asked = settings();
    keys.forEach((key, k) => {
      const at = model.get("i" + k);
      if (at === start[k]) asked.delete(key); else asked.set(key, controls[k].values[at]);
    });
    const text = String(asked).replaceAll("%2C", ",");
    try {
      history.replaceState(history.state, "", location.pathname + location.search + (text && "#" + text));
    } catch { /* a page that may not set its address, or too often: the control works on */ }
  }

  // Once a slider rests: browsers allow a page few changes of its address.
  const changed = () => { if (!reading) { clearTimeout(timer); timer = setTimeout(write, 150); } };
  read();
  names.forEach((name) => model.on(name, changed));
  window.addEventListener("hashchange", read);
  return () => {
    clearTimeout(timer);
    names.forEach((name) => model.off(name, changed));
    window.removeEventListener("hashchange", read);
  };
}
