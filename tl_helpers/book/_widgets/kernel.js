// Shared by all controls (widgets/kernel.py puts it in front of each view's own script): is this control's kernel there?
//
// JupyterLab says when its kernel restarts, stops or is cut off: the control is "gone". A message to the kernel is
// answered ("pong"); a kernel that is busy with a cell answers late, so the control is "waiting", which is no death. Where
// nobody tells whether the kernel is busy, silence is called just that, "silent". With an answer it is "here". A page
// that never had a kernel, such as the built book, stays "none". There is no regular heartbeat: it would keep an unused
// kernel from ever being culled.

const SOON = 1000, LONG = 6000, BEAT = 10000;  // milliseconds
const AGAIN = "run this cell again.";
const SILENT = `The kernel does not answer. It may be busy; if it was restarted, ${AGAIN}`;
const LOST = {
  restarting: `The kernel was restarted: ${AGAIN}`,
  autorestarting: `The kernel died and was restarted: ${AGAIN}`,
  terminating: `The kernel was shut down: start it and ${AGAIN}`,
  dead: `The kernel died: restart it and ${AGAIN}`,
  changed: `The kernel was changed: ${AGAIN}`,
  disconnected: `The connection to the kernel is lost. Reconnect (menu Kernel); if that does not help, ${AGAIN}`,
};

// anywidget 0.11 makes a model deaf for good if its script took more than two seconds to load, as it does on a machine that
// is busy: its handler of messages waits for something that has failed. Hand them to the handler that it overrides.
async function unblock(model) {
  const full = await model.widget_manager.get_model(model.get("me")), handlers = [];
  for (let level = full; level; level = Object.getPrototypeOf(level)) {
    if (Object.hasOwn(level, "_handle_comm_msg")) handlers.push(level._handle_comm_msg);
  }
  if (full.comm && handlers.length > 1) full.comm.on_msg((message) => handlers[1].call(full, message));
}

// `changed` is called when `state`, `text` or `open` (a message is on its way) change. `unanswered` says whether the kernel owes an answer apart from those
// to `send`; `waits` is the text while it is busy.
function watchKernel(model, el, changed, { unanswered = () => false, waits = "waits until the running cell is done" } = {}) {
  const manager = model.widget_manager || {}, session = manager.context && manager.context.sessionContext;
  const source = session || manager.kernel, own = manager.kernel && manager.kernel.id;
  const ready = unblock(model).catch(() => {});  // a manager without all of this: then nothing needs mending
  // Where subshells answer, a kernel calls itself idle as soon as one of them is, while a cell runs on in another: so count.
  const busy = new Set(manager.kernel && manager.kernel.status === "busy" ? ["before"] : []);
  const status = () => (busy.size ? "busy" : manager.kernel ? manager.kernel.status : undefined);
  const kernel = { state: "none", text: "", open: false };
  let sent = 0, answered = 0, since = 0, worked = 0, beat = 0, lost = "", timer = 0;

  function look() {
    const open = sent > answered || unanswered();
    since = open ? since || Date.now() : 0;
    const now = status(), known = now && now !== "unknown", works = known && now !== "idle";
    if (works) worked = Date.now();
    const waited = open ? Date.now() - since : 0, quiet = open ? Date.now() - Math.max(since, worked) : 0;
    let state = answered ? "here" : "none", text = "";
    if (lost) [state, text] = ["gone", lost];
    else if (waited >= SOON && works) [state, text] = ["waiting", waits];
    else if (quiet >= LONG && (answered || own)) [state, text] = ["silent", SILENT];
    clearTimeout(timer);
    if (open && !lost && (known || answered || waited < LONG)) timer = setTimeout(look, 250);
    if (state === kernel.state && text === kernel.text && open === kernel.open) return;
    Object.assign(kernel, { state, text, open });
    changed();
  }

  function send(message) {
    sent += 1;
    beat = Date.now();
    const numbered = { ...message, n: sent };
    ready.then(() => model.send(numbered)).catch(() => { /* no kernel to send to */ });
    look();
  }

  function lose(why) {
    if ((lost && lost !== LOST.disconnected) || !(answered || own)) return;
    lost = LOST[why];
    look();
  }

  const onMessage = (message) => {
    if (!message || message.type !== "pong") return;
    answered = Math.max(answered, message.n || sent);
    lost = "";
    look();
  };
  const onOutput = (_, { header, parent_header: asked, content }) => {
    if (header.msg_type !== "status") return;
    if (content.execution_state === "busy") busy.add(asked.msg_id);
    else if (content.execution_state === "idle" && !busy.delete(asked.msg_id)) busy.delete("before");
  };
  const onComm = () => setTimeout(() => { if (el.closest(".jupyter-widgets-disconnected")) lose("restarting"); }, 0);
  const onStatus = (_, now) => { if (LOST[now]) lose(now); };
  const onKernel = () => {
    if (!manager.kernel) lose("terminating");
    else if (own && manager.kernel.id !== own) lose("changed");
  };
  const onConnection = (_, now) => {
    if (now === "disconnected") lose("disconnected");
    else if (now === "connected" && lost === LOST.disconnected) {
      onKernel();  // another kernel may have come meanwhile
      if (lost === LOST.disconnected) { lost = ""; send({ type: "ping" }); }
    }
  };
  const signals = Object.entries({
    statusChanged: onStatus, kernelChanged: onKernel, connectionStatusChanged: onConnection, iopubMessage: onOutput,
  }).map(([name, slot]) => [source && source[name], slot]).filter(([signal]) => signal);
  signals.forEach(([signal, slot]) => signal.connect(slot));
  model.on("msg:custom", onMessage);
  model.on("comm_live_update", onComm);

  return Object.assign(kernel, {
    send,
    look,
    // While a run goes on: ask now and then where nobody would tell that the kernel is gone.
    beat() { if (!source && kernel.state === "here" && Date.now() - beat > BEAT) send({ type: "ping" }); },
    close() {
      clearTimeout(timer);
      signals.forEach(([signal, slot]) => signal.disconnect(slot));
      model.off("msg:custom", onMessage);
      model.off("comm_live_update", onComm);
    },
  });
}

const RUN_PANEL = (name) => `<div class="tl-run" hidden><button type="button" class="start">${name}</button>
  <button type="button" class="stop">Stop</button><span class="tl-state" role="status"></span></div>`;

// The two buttons of RUN_PANEL and the line beside them. `wish()` is the message that starts a run; `draw(run, usual)` shows
// what the kernel says of the run, in the words `usual` as long as the kernel is there, and returns whether it goes on.
function runPanel(el, kernel, wish) {
  const [panel, start, stop, line] = [".tl-run", ".start", ".stop", ".tl-state"].map((name) => el.querySelector(name));
  let last = {}, words = "", stopping = false;

  function draw(run = last, usual = words) {
    [last, words] = [run, usual];
    const gone = kernel.state === "gone", running = run.state === "running" && !gone;
    stopping = stopping && running;
    const text = !running && kernel.text ? kernel.text : [stopping ? "stopping …" : usual, kernel.text].filter(Boolean).join(" · ");
    panel.hidden = kernel.state === "none";
    start.setAttribute("aria-disabled", String(running || kernel.open || kernel.state !== "here"));
    stop.setAttribute("aria-disabled", String(!running || stopping));
    line.className = `tl-state${gone ? " gone" : run.state === "failed" ? " failed" : ""}`;
    if (line.textContent !== text) line.textContent = text;
    return running;
  }

  const onClick = (button, act) => button.addEventListener("click", () => {
    if (button.getAttribute("aria-disabled") !== "true") { act(); draw(); }
  });
  onClick(start, () => kernel.send(wish()));
  onClick(stop, () => { stopping = true; kernel.send({ type: "stop" }); });
  return { draw };
}
