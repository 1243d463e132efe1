// One line that is empty as long as the kernel answers; see widgets.kernel.KernelNote.

function render({ model, el }) {
  el.innerHTML = '<p class="tl-kernel" role="status" hidden></p>';
  const line = el.firstElementChild, other = () => model.get("typed") !== model.get("answered");

  function draw() {
    const silent = !kernel.text;
    line.hidden = silent;
    const text = silent ? "" : kernel.text + (other() && kernel.state !== "waiting" ? " The answers below are older than what is typed." : "");
    if (line.textContent !== text) line.textContent = text;
    const gone = kernel.state === "gone";
    if (model.get("gone") !== gone) { model.set("gone", gone); model.save_changes(); }
  }

  const kernel = watchKernel(model, el, draw, { unanswered: other, waits: "The kernel is busy: your names are ranked as soon as it is free." });
  const names = ["change:typed", "change:answered"];
  const onChange = () => { kernel.look(); draw(); };
  names.forEach((name) => model.on(name, onChange));
  kernel.send({ type: "ping" });
  draw();
  return () => { kernel.close(); names.forEach((name) => model.off(name, onChange)); };
}

export default { render };
