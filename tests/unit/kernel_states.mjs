// Plays a control's front end with a made-up kernel and a made-up clock; run by test_kernel_states.py, which prepares
// kernel.mjs. Each line printed is one case that failed.
import { mock } from "node:test";

const { watchKernel, runPanel, RUN_PANEL } = await import(process.argv[2]);
mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });

const failures = [];
const check = (name, found, wanted) => {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) failures.push(`${name}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
};

class Signal {
  slots = [];
  connect(slot) { this.slots.push(slot); }
  disconnect(slot) { this.slots = this.slots.filter((s) => s !== slot); }
  emit(value) { this.slots.forEach((slot) => slot(this, value)); }
}

class Hearing {
  said = [];
  _handle_comm_msg(message) { this.said.push(message); }
}
class Deaf extends Hearing {  // as anywidget's models are after a slow start
  constructor(comm) { super(); this.comm = comm; }
  async _handle_comm_msg() { throw new Error("Failed to initialize model."); }
}

// `place`: "lab", "elsewhere" (nobody tells about the kernel) or "page" (there is none).
function play(place, options, first = "idle") {
  const handlers = {}, sent = [];
  const el = { disconnected: false, closest() { return this.disconnected ? this : null; } };
  const session = { statusChanged: new Signal(), kernelChanged: new Signal(), connectionStatusChanged: new Signal(), iopubMessage: new Signal() };
  const kernel = { id: "k1", status: first };
  const full = new Deaf({ on_msg: (f) => { full.heard = f; } });
  const model = {
    widget_manager: { get_model: async () => full, ...(place === "lab" ? { context: { sessionContext: session }, kernel } : {}) },
    get: () => "me",
    on: (name, f) => { (handlers[name] ||= []).push(f); },
    off: (name, f) => { handlers[name] = handlers[name].filter((g) => g !== f); },
    send: (message) => { sent.push(message); if (!full.heard) failures.push("sent before it could hear"); },
  };
  const seen = [];
  const watch = watchKernel(model, el, () => seen.push(watch.state), options);
  const pong = (n) => (handlers["msg:custom"] || []).forEach((f) => f({ type: "pong", n }));
  const fire = (name) => (handlers[name] || []).forEach((f) => f());
  const status = (now) => { kernel.status = now; session.statusChanged.emit(now); };
  return { full, el, session, kernel, model, sent, seen, watch, pong, fire, status, handlers };
}
const settled = () => new Promise(setImmediate);
const pass = (seconds) => { for (let k = 0; k < seconds * 4; k++) mock.timers.tick(250); };

{ // A page without a kernel never changes its mind, and does not keep looking.
  let looks = 0;
  const p = play("page");
  Object.defineProperty(p.model.widget_manager, "kernel", { get() { looks += 1; return undefined; } });
  p.watch.send({ type: "ping" });
  pass(60);
  const first = looks;
  pass(600);
  await settled();
  check("a page without a kernel", [p.watch.state, p.watch.text, p.sent.length, looks], ["none", "", 1, first]);
}
{ // A model that anywidget has made deaf hears again.
  const p = play("lab");
  await settled();
  p.full.heard("a message");
  check("no longer deaf", p.full.said, ["a message"]);
}
{ // A manager that knows nothing of models: messages are sent all the same.
  const p = play("page");
  p.full.heard = () => {};
  p.model.widget_manager = undefined;
  const sent = [], watch = watchKernel({ ...p.model, send: (m) => sent.push(m) }, p.el, () => {});
  watch.send({ type: "ping" });
  await settled();
  check("no manager", sent, [{ type: "ping", n: 1 }]);
}
{ // Never answered, though there is a kernel and it is idle: a view that was opened with its notebook.
  const p = play("lab");
  p.watch.send({ type: "ping" }); pass(10);
  check("no answer at all", [p.watch.state, p.watch.text.includes("run this cell again")], ["silent", true]);
}
{ // Answered within a moment.
  const p = play("lab");
  p.watch.send({ type: "ping" });
  check("asked", p.watch.state, "none");
  p.pong(1);
  check("answered", [p.watch.state, p.watch.open], ["here", false]);
}
{ // Busy with a long cell: no false alarm, however long; and the answer of an older question does not count.
  const p = play("lab");
  p.watch.send({ type: "ping" }); p.pong(1);
  p.status("busy");
  p.watch.send({ type: "run" });
  check("a click is on its way", [p.watch.state, p.watch.open], ["here", true]);
  pass(2);
  check("busy for 2 s", [p.watch.state, p.watch.text], ["waiting", "waits until the running cell is done"]);
  p.pong(1);
  check("an old answer", p.watch.state, "waiting");
  pass(1800);
  check("busy for half an hour", p.watch.state, "waiting");
  p.status("idle"); p.pong(2);
  check("done at last", [p.watch.state, p.watch.open], ["here", false]);
}
{ // Busy since before the control was drawn (all cells were run): it waits, it is not absent.
  const p = play("lab");
  p.status("busy");
  p.watch.send({ type: "ping" });
  pass(300);
  check("busy from the start", p.watch.state, "waiting");
  p.status("restarting");
  check("restarted before it could answer", p.watch.state, "gone");
}
{ // A subshell says "idle" while a cell runs on, which began after the control was drawn, or before.
  for (const begun of ["after", "before"]) {
    const p = play("lab", {}, begun === "before" ? "busy" : "idle");
    const says = (id, state) => p.session.iopubMessage.emit({ header: { msg_type: "status" }, parent_header: { msg_id: id }, content: { execution_state: state } });
    if (begun === "after") { p.watch.send({ type: "ping" }); p.pong(1); says("cell", "busy"); }
    says("comm", "busy"); says("comm", "idle"); p.status("idle");
    p.session.iopubMessage.emit({ header: { msg_type: "stream" }, parent_header: {}, content: {} });
    p.watch.send({ type: "run" });
    pass(60);
    check(`a cell that began ${begun}`, p.watch.state, "waiting");
    says("cell", "idle");
    pass(1);
    check("and its end", p.watch.text, "");
    pass(8);
    check("and no answer after it", p.watch.state, "silent");
    p.pong(9);
    check("and the answer", p.watch.state, "here");
  }
}
for (const [now, words] of [["restarting", "was restarted"], ["autorestarting", "died"], ["terminating", "shut down"], ["dead", "died"]]) {
  const p = play("lab");
  p.watch.send({ type: "ping" }); p.pong(1);
  p.status(now); p.status("idle");
  check(`${now}`, [p.watch.state, p.watch.text.includes(words), p.watch.text.includes("run this cell again")], ["gone", true, true]);
  p.watch.send({ type: "run" }); pass(60);
  check(`${now}, and a click`, p.watch.state, "gone");
  p.pong(2);
  check(`${now}: who answers is not gone`, p.watch.state, "here");
}
{ // Shut down or changed: no status tells.
  const p = play("lab");
  p.watch.send({ type: "ping" }); p.pong(1);
  p.model.widget_manager.kernel = { id: "k2", status: "idle" }; p.session.kernelChanged.emit({});
  check("another kernel", p.watch.state, "gone");
  const q = play("lab");
  q.watch.send({ type: "ping" }); q.pong(1);
  q.model.widget_manager.kernel = null; q.session.kernelChanged.emit({});
  check("no kernel any more", q.watch.state, "gone");
}
{ // Another kernel, as JupyterLab tells it: cut off first, then connected to the new one.
  const p = play("lab");
  p.watch.send({ type: "ping" }); p.pong(1);
  p.session.connectionStatusChanged.emit("disconnected");
  p.model.widget_manager.kernel = { id: "k2", status: "idle" };
  p.session.connectionStatusChanged.emit("connected");
  p.session.kernelChanged.emit({});
  pass(60);
  await settled();
  check("changed by way of a lost connection", [p.watch.state, p.watch.text, p.sent.length], ["gone", "The kernel was changed: run this cell again.", 1]);
}
{ // The manager closes the comm without a word.
  const p = play("elsewhere");
  p.watch.send({ type: "ping" }); p.pong(1);
  p.fire("comm_live_update"); pass(1);
  check("a comm that lives", p.watch.state, "here");
  p.el.disconnected = true; p.fire("comm_live_update"); pass(1);
  check("a comm that is closed", p.watch.state, "gone");
}
{ // The connection comes back, and with it the same kernel.
  const p = play("lab");
  p.watch.send({ type: "ping" }); p.pong(1);
  p.session.connectionStatusChanged.emit("connecting");
  check("connecting", p.watch.state, "here");
  p.session.connectionStatusChanged.emit("disconnected");
  check("cut off", p.watch.state, "gone");
  p.session.connectionStatusChanged.emit("connected");
  await settled();
  check("asks anew", p.sent.map((m) => m.type), ["ping", "ping"]);
  p.pong(2);
  check("back", p.watch.state, "here");
}
{ // Silence without knowing why is not called death; a late answer ends it.
  for (const place of ["elsewhere", "lab"]) {
    const p = play(place);
    p.watch.send({ type: "ping" }); p.pong(1);
    p.watch.send({ type: "run" });
    pass(5);
    check(`${place}: five seconds of silence`, p.watch.state, "here");
    pass(3);
    check(`${place}: eight`, [p.watch.state, p.watch.text.includes("may be busy"), p.watch.text.includes("run this cell again")], ["silent", true, true]);
    p.pong(2);
    check(`${place}: a late answer`, p.watch.state, "here");
  }
}
{ // No heartbeat in an idle kernel; one during a run, where nobody would tell.
  const p = play("elsewhere"), q = play("lab");
  for (const { watch, pong } of [p, q]) { watch.send({ type: "ping" }); pong(1); }
  pass(3600);
  await settled();
  check("idle for an hour", [p.sent.length, q.sent.length], [1, 1]);
  for (let k = 0; k < 50; k++) { p.watch.beat(); q.watch.beat(); pass(0.5); if (p.watch.open && k < 30) p.pong(99); }
  await settled();
  check("asks during a run", [p.sent.length > 1, q.sent.length], [true, 1]);
}
{ // What the control itself is owed: names that were typed and not ranked.
  let owed = false;
  const p = play("lab", { unanswered: () => owed, waits: "ranked later" });
  p.watch.send({ type: "ping" }); p.pong(1);
  p.status("busy"); owed = true; p.watch.look(); pass(2);
  check("names typed while busy", [p.watch.state, p.watch.text], ["waiting", "ranked later"]);
  owed = false; p.watch.look();
  check("ranked", p.watch.state, "here");
}
{ // After its end it listens to nothing.
  const p = play("lab");
  p.watch.send({ type: "ping" }); p.pong(1);
  p.watch.close();
  p.status("restarting");
  check("closed", [p.watch.state, p.handlers["msg:custom"].length, p.session.statusChanged.slots.length], ["here", 0, 0]);
}

// ---- the buttons

class Element {
  attributes = {}; listeners = []; hidden = false; className = ""; textContent = "";
  setAttribute(name, value) { this.attributes[name] = value; }
  getAttribute(name) { return this.attributes[name] ?? null; }
  addEventListener(_, f) { this.listeners.push(f); }
  click() { this.listeners.forEach((f) => f()); }
  get works() { return this.attributes["aria-disabled"] !== "true"; }
}
function playPanel(place) {
  const p = play(place), parts = { ".tl-run": new Element(), ".start": new Element(), ".stop": new Element(), ".tl-state": new Element() };
  const el = { querySelector: (name) => parts[name] };
  const run = { state: "idle" }, said = () => (run.state === "running" ? "epoch 1" : "computes this setting now");
  const panel = runPanel(el, p.watch, () => ({ type: "run", at: [1] }));
  const draw = () => panel.draw(run, said());
  p.seen.push = () => { draw(); return 0; };  // the view draws when the kernel's state changes
  draw();
  return { ...p, run, draw, panel: parts[".tl-run"], start: parts[".start"], stop: parts[".stop"], line: parts[".tl-state"] };
}
check("both buttons are there", ["Run live", "Stop"].every((name) => RUN_PANEL("Run live").includes(name)), true);
{
  const p = playPanel("page");
  p.watch.send({ type: "ping" }); pass(60);
  check("no kernel: no button", p.panel.hidden, true);
}
{
  const p = playPanel("lab");
  p.watch.send({ type: "ping" }); p.pong(1); p.draw();
  check("idle", [p.panel.hidden, p.start.works, p.stop.works, p.line.textContent], [false, true, false, "computes this setting now"]);
  p.stop.click();
  await settled();
  check("a dead button sends nothing", p.sent.length, 1);
  p.start.click(); p.start.click();
  await settled();
  check("two clicks are one run", p.sent.slice(1), [{ type: "run", at: [1], n: 2 }]);
  p.pong(2); p.run.state = "running";
  check("running", [p.draw(), p.start.works, p.stop.works, p.line.textContent], [true, false, true, "epoch 1"]);
  p.stop.click(); p.pong(3);
  await settled();
  check("stopping", [p.stop.works, p.line.textContent, p.sent.at(-1).type], [false, "stopping …", "stop"]);
  p.run.state = "stopped";
  check("stopped", [p.draw(), p.start.works, p.stop.works], [false, true, false]);
  p.run.state = "running"; p.draw();
  check("the next run may be stopped", p.stop.works, true);
  p.status("restarting");
  check("gone while running", [p.draw(), p.start.works, p.stop.works, p.line.textContent, p.line.className],
    [false, false, false, "The kernel was restarted: run this cell again.", "tl-state gone"]);
}
{
  const p = playPanel("lab");
  p.watch.send({ type: "ping" }); p.pong(1); p.status("busy"); p.draw();
  check("a busy kernel may be asked", p.start.works, true);
  p.start.click(); pass(2);
  check("queued", [p.start.works, p.line.textContent], [false, "waits until the running cell is done"]);
}

console.log(failures.join("\n"));
process.exit(failures.length ? 1 : 0);
