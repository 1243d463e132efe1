// Plays a made-up page with three controls, its address and a clock; run by test_kernel_states.py, which prepares
// address.mjs. Each line printed is one case that failed.
import { mock } from "node:test";

const { watchAddress } = await import(process.argv[2]);
mock.timers.enable({ apis: ["setTimeout"] });

const failures = [];
const check = (name, found, wanted) => {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) failures.push(`${name}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
};

const control = (key, values) => ({ key, label: key, values });
const DEPTH = control("depth", ["0", "1", "2", "3"]), RATE = control("rate", ["0.0001", "0.001", "0.01"]);
const PAIR = control("pair", ["a → b", "b & c, d"]), MANY = control("many", ["9000", "10,000"]);
// The state lists models in any order; the views are in the page's.
const STATE = { state: {
  late: { state: { grid: { controls: [DEPTH, PAIR, MANY] }, i0: 1, i1: 0, i2: 0 } },
  early: { state: { grid: { controls: [DEPTH, RATE] }, i0: 2, i1: 1 } },
  hidden: { state: { grid: { controls: [DEPTH] }, i0: 0 } },
  lateBox: { state: { children: ["IPY_MODEL_slider", "IPY_MODEL_late"] } },
  earlyBox: { state: { children: ["IPY_MODEL_inner"] } },
  inner: { state: { children: ["IPY_MODEL_slider", "IPY_MODEL_early"] } },
  slider: { state: { index: 0 } },
} };
const VIEWS = ["slider", "earlyBox", "lateBox", "earlyBox"].map((model_id) => ({ model_id }));

function play(me, hash = "", { carried = true } = {}) {
  const handlers = {}, listeners = new Set(), written = [];
  const tags = { state: [STATE], view: VIEWS };
  globalThis.document = { querySelectorAll: (name) => (carried ? tags[name.match(/widget-(\w+)/)[1]] : []).map((said) => ({ textContent: JSON.stringify(said) })) };
  globalThis.location = { pathname: "/chapter.html", search: "?q=1", hash };
  globalThis.history = { state: { theme: 1 }, replaceState(state, _, url) {
    check("the state of the page is kept", state, { theme: 1 });
    written.push(url);
    location.hash = url.includes("#") ? url.slice(url.indexOf("#")) : "";
  } };
  globalThis.window = { addEventListener: (name, f) => listeners.add(f), removeEventListener: (name, f) => listeners.delete(f) };
  const values = { me, ...STATE.state[me].state };
  const model = {
    get: (name) => values[name],
    set(name, value) { if (values[name] !== value) { values[name] = value; (handlers["change:" + name] || []).forEach((f) => f()); } },
    save_changes() {},
    on: (name, f) => { (handlers[name] ||= []).push(f); },
    off: (name, f) => { handlers[name] = handlers[name].filter((g) => g !== f); },
  };
  const close = watchAddress(model);
  const at = () => values.grid.controls.map((_, k) => values["i" + k]);
  const move = (setting) => { Object.entries(setting).forEach(([name, value]) => model.set(name, value)); mock.timers.tick(1000); };
  const go = (there) => { location.hash = there; listeners.forEach((f) => f()); mock.timers.tick(1000); };
  return { model, at, move, go, close, written, handlers, listeners };
}

{ // Nothing in the address: nothing happens, until the reader changes something.
  for (const hash of ["", "#a-heading"]) {
    const p = play("early", hash);
    mock.timers.tick(1000);
    check(`start at ${hash}`, [p.at(), p.written, location.hash], [[2, 1], [], hash]);
    p.move({ i0: 3 });
    check(`a change at ${hash}`, p.written, ["/chapter.html?q=1#depth=3"]);
    p.move({ i1: 0 });
    check("another", location.hash, "#depth=3&rate=0.0001");
    p.move({ i0: 2, i1: 1 });
    check("back at the start", p.written.at(-1), "/chapter.html?q=1");
  }
}
{ // A slider on its way writes once, when it rests.
  const p = play("early");
  for (const k of [1, 0, 1, 3]) { p.model.set("i0", k); mock.timers.tick(20); }
  check("on its way", p.written, []);
  mock.timers.tick(1000);
  check("at rest", p.written, ["/chapter.html?q=1#depth=3"]);
}
{ // The setting that the address asks for; opening it changes nothing in it.
  const p = play("early", "#depth=0&rate=0.01");
  mock.timers.tick(1000);
  check("opened with a setting", [p.at(), p.written], [[0, 2], []]);
  p.go("#depth=3");
  check("another address", [p.at(), p.written], [[3, 1], []]);
  p.go("#a-heading");
  check("a heading", [p.at(), p.written], [[3, 1], []]);
  p.close();
  check("closed", [p.listeners.size, p.handlers["change:i0"].length], [0, 0]);
}
// What cannot be: the start. What is not ours: left alone.
for (const [hash, wanted] of [
  ["#depth=7&rate=0.01", [2, 2]], ["#depth=&rate=fast", [2, 1]], ["#depth=-1", [2, 1]], ["#depth", [2, 1]], ["#=&&%E0%A4%A=%", [2, 1]],
  ["#depth=1&depth=3", [1, 1]], ["#__proto__=1&constructor=2", [2, 1]], ["#depth.2=3", [2, 1]],
]) {
  const p = play("early", hash);
  mock.timers.tick(1000);
  check(hash, [p.at(), p.written], [wanted, []]);
}
{ // A second control with the same key has a number; each writes its own keys only, readably.
  const p = play("late", "#depth=0&depth.2=3&other=x");
  check("its own key", p.at(), [3, 0, 0]);
  p.move({ i1: 1, i2: 1 });
  check("its own keys", location.hash, "#depth=0&depth.2=3&other=x&pair=b+%26+c,+d&many=10,000");
  check("and back", play("late", location.hash).at(), [3, 1, 1]);
  check("without the reader's encoding", play("late", "#pair=a%20%E2%86%92%20b&depth.2=2").at(), [2, 0, 0]);
}
{ // An address that cannot be set breaks nothing.
  const p = play("early");
  history.replaceState = () => { throw new Error("too often"); };
  p.move({ i0: 0 });
  check("not to be set", p.at(), [0, 1]);
}
// JupyterLab's pages carry no widgets along; a view that is not on the page has no keys.
for (const [me, options] of [["early", { carried: false }], ["hidden", {}]]) {
  const p = play(me, "#depth=3&depth.3=3", options);
  p.move({ i0: 1 });
  check(`${me}: not ours`, [p.at()[0], p.written, p.listeners.size], [1, [], 0]);
  p.close();
}

console.log(failures.join("\n"));
process.exit(failures.length ? 1 : 0);
