// What a reader is asked: a prediction, what came of it, and a quiz; see widgets.Asking. No library, no network, no kernel
// needed: the browser keeps what the reader said (localStorage), and a kernel that is there is told.

const esc = (s) => String(s).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

// Of markup, a text may have `code` and *emphasis*.
const marked = (s) => String(s).split("`").map((part, k) => (k % 2 ? `<code>${esc(part)}</code>`
  : esc(part).replace(/\*([^*]+)\*/g, "<em>$1</em>"))).join("");

// ---- what is kept. Where the browser keeps nothing (a private window, a full disk), the open page does.

const KEPT = (globalThis.tlKept ||= new Map());

function recall(key) {
  let text = null;
  try { text = localStorage.getItem(key); } catch { /* not allowed */ }
  if (KEPT.has(key)) text = KEPT.get(key);
  try { return JSON.parse(text); } catch { return null; }
}

function keep(key, value) {
  KEPT.set(key, JSON.stringify(value ?? null));
  try {
    if (value === null) localStorage.removeItem(key); else localStorage.setItem(key, JSON.stringify(value));
    KEPT.delete(key);
  } catch { /* not allowed, or full */ }
  window.dispatchEvent(new CustomEvent("tl-kept", { detail: key }));
}

// Call `act` when what is kept under this key changes, here or in another window. Returns what ends that.
function watchKept(key, act) {
  const here = (event) => { if (event.detail === key) act(); };
  const there = (event) => { if (event.key === key || event.key === null) { KEPT.delete(key); act(); } };
  window.addEventListener("tl-kept", here);
  window.addEventListener("storage", there);
  return () => { window.removeEventListener("tl-kept", here); window.removeEventListener("storage", there); };
}

// ---- predictions

const unitOf = (unit, value) => (unit ? `\u00a0${Number(value) === 1 ? unit.replace(/(\w)s$/, "$1") : unit}` : "");  // 1 point
const named = ({ options, unit }, value) => (options ? (options.length ? `“${value}”` : value) : `${value}${unitOf(unit, value)}`);

// What was kept may be from a question that has changed since: then it is none.
function fitting(asked, value) {
  if (asked.options) return asked.options.includes(value) ? value : null;
  return typeof value === "number" && value >= asked.low && value <= asked.high ? value : null;
}

// A number as typed (`bad`: the browser could not read it): { value } or { problem }; nothing typed is no prediction.
function typed(asked, text, bad = false) {
  if (!bad && text.trim() === "") return { value: null };
  const value = fitting(asked, bad ? NaN : Number(text));
  return value === null ? { problem: `Please type a number from ${asked.low} to ${asked.high}.` } : { value };
}

// "You said 70 %, it was 82 %: 12 points more than you thought."
function verdict(asked, value) {
  const it = named(asked, asked.shown);
  if (value === null) return `It was ${it}. You have not said what you expect: the question stands at the start of the chapter.`;
  if (asked.options) return value === asked.shown ? `You said ${it}, and so it was.` : `You said ${named(asked, value)}, it was ${it}.`;
  const by = asked.measured - value, apart = Math.abs(by).toFixed(asked.digits);
  const far = `${apart}${unitOf(asked.unit === "%" ? "points" : asked.unit, apart)} ${by > 0 ? "more" : "less"} than you thought`;
  return `You said ${named(asked, value)}, it was ${it}: ${Math.abs(by) <= asked.near ? "well predicted" : far}.`;
}

// ---- quizzes

const judged = ({ right, why }) => `${right ? "✓ Right." : "✗ Not so."} ${why}`;
const tally = (right, of) => (right === of ? `All ${of} answered rightly.` : `${right} of ${of} answered rightly so far.`);

// What was kept, as the number of the answer to each question that still stands; -1 for none.
const standing = (questions, kept) => questions.map(({ ask, answers }) => answers.findIndex(({ text }) => kept && kept[ask] === text));

// ---- on the page

let count = 0;
const fresh = () => `tl-${Math.random().toString(36).slice(2)}-${(count += 1)}`;  // the same cell may be shown twice
const say = (line, text) => { const html = marked(text); if (line.dataset.said !== html) line.innerHTML = line.dataset.said = html; };
const radios = (name, options) => options.map((option, k) =>
  `<label><input type="radio" name="${name}" value="${k}"><span>${marked(option)}</span></label>`).join("");

function drawAsk(model, root, asked) {
  const id = fresh(), [low, high] = [asked.low, asked.high];
  root.innerHTML = `<form class="tl-box" novalidate><p class="tl-kicker">Your prediction</p>` + (asked.options
    ? `<fieldset><legend>${marked(asked.question)}</legend>${radios(id, asked.options)}</fieldset><p class="tl-row">`
    : `<label class="tl-question" for="${id}">${marked(asked.question)}</label><p class="tl-row"><input id="${id}" type="number" step="any"
      min="${low}" max="${high}" aria-describedby="${id}-hint"><span>${esc(asked.unit)}</span><button>Write it down</button>
      <small id="${id}-hint">from ${low} to ${high}</small>`)
    + `<button type="button" class="tl-plain">Forget it</button></p><p class="tl-note" role="status"></p></form>`;
  const [form, forget, note] = ["form", ".tl-plain", ".tl-note"].map((name) => root.querySelector(name));
  const inputs = [...root.querySelectorAll("input")], field = asked.options ? null : inputs[0];

  function draw() {
    const value = fitting(asked, recall(asked.key));
    if (field && document.activeElement !== field) field.value = value ?? "";
    if (!field) inputs.forEach((input, k) => { input.checked = asked.options[k] === value; });
    if (field) field.removeAttribute("aria-invalid");
    forget.hidden = value === null;
    note.classList.remove("tl-wrong");
    say(note, value === null ? "" : `Written down: ${named(asked, value)}. The chapter comes back to it.`);
    if (model.get("value") === value) return;
    model.set("value", value);
    try { model.save_changes(); } catch { /* its kernel is gone: the page remembers */ }
  }
  function read() {
    const said = field ? typed(asked, field.value, field.validity.badInput) : { value: asked.options[inputs.findIndex((i) => i.checked)] ?? null };
    if (!said.problem) return keep(asked.key, said.value);
    field.setAttribute("aria-invalid", "true");
    note.classList.add("tl-wrong");
    say(note, said.problem);
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); read(); });
  form.addEventListener("change", read);
  forget.addEventListener("click", () => { keep(asked.key, null); if (field) field.value = ""; inputs[0].focus(); });
  // A kernel that knows more than the browser, as in Colab, where each cell has a page of its own.
  if (recall(asked.key) === null && fitting(asked, model.get("value")) !== null) keep(asked.key, model.get("value"));
  draw();
  return watchKept(asked.key, draw);
}

function drawAnswer(model, root, asked) {
  root.innerHTML = `<div class="tl-box"><p class="tl-kicker">Prediction and result</p><p class="tl-question">${marked(asked.question)}</p>
    <p class="tl-verdict" role="status"></p></div>`;
  const line = root.querySelector(".tl-verdict");
  const draw = () => say(line, verdict(asked, fitting(asked, recall(asked.key) ?? asked.said ?? null)));
  draw();
  return watchKept(asked.key, draw);
}

function drawQuiz(model, root, { key, questions }) {
  root.innerHTML = questions.map(({ ask, answers }, k) => `<form class="tl-box" novalidate><fieldset>
    <legend><span class="tl-kicker">Question ${k + 1} of ${questions.length}</span> ${marked(ask)}</legend>
    ${radios(fresh(), answers.map(({ text }) => text))}</fieldset>
    <p class="tl-row"><button aria-label="Check question ${k + 1}">Check</button></p><p class="tl-note" role="status"></p></form>`).join("")
    + `<p class="tl-row tl-end"><span role="status"></span><button type="button" class="tl-plain">Start again</button></p>`;
  const forms = [...root.querySelectorAll("form")], again = root.querySelector(".tl-end button"), end = root.querySelector(".tl-end span");

  function show(k, chosen) {
    const note = forms[k].querySelector(".tl-note"), answer = questions[k].answers[chosen];
    note.className = `tl-note${answer ? (answer.right ? " tl-right" : " tl-wrong") : ""}`;
    say(note, answer ? judged(answer) : "");
  }
  function total() {
    const at = standing(questions, recall(key)), right = at.filter((chosen, k) => chosen >= 0 && questions[k].answers[chosen].right).length;
    say(end, tally(right, questions.length));
    again.hidden = at.every((chosen) => chosen < 0);
  }
  function draw() {
    standing(questions, recall(key)).forEach((chosen, k) => {
      [...forms[k].querySelectorAll("input")].forEach((input, j) => { input.checked = j === chosen; });
      show(k, chosen);
    });
    total();
  }
  forms.forEach((form, k) => {
    const inputs = [...form.querySelectorAll("input")];
    form.addEventListener("change", () => show(k, -1));  // what is said belongs to the answer that was checked
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const chosen = inputs.findIndex((input) => input.checked);
      if (chosen < 0) return say(form.querySelector(".tl-note"), "Choose an answer first.");
      keep(key, { ...recall(key), [questions[k].ask]: questions[k].answers[chosen].text });
      show(k, chosen);
    });
  });
  again.addEventListener("click", () => { keep(key, null); draw(); forms[0].querySelector("input").focus(); });
  draw();
  return watchKept(key, total);
}

const DRAW = { ask: drawAsk, answer: drawAnswer, quiz: drawQuiz };

function render({ model, el }) {
  const told = model.get("told");
  el.innerHTML = `<div class="tl-asking tl-${told.kind}" data-lm-suppress-shortcuts="true"></div>`;
  const root = el.firstElementChild;
  root.addEventListener("keydown", (event) => event.stopPropagation());  // arrows choose an answer here, not a cell
  return DRAW[told.kind](model, root, told);
}

export default { render };
