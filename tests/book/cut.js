// Everything on the page that a reader cannot see whole: one entry for each place, the innermost box that cuts it.
//
// An entry is {kind, selector, text, wider, bar, edge, code}; the kinds are
//   scrolls   a box that scrolls sideways, or a code block, table or output that is wider than its box
//   clipped   a box that hides what does not fit, to the right or below, with no way to reach it
//   squeezed  a box that scrolls up and down in the middle of the text
//   spills    text or a picture that leaves its paragraph, cell or column, and so lies over its neighbour
//   outside   text or a picture that leaves the window
// `wider` is by how many pixels, `bar` the height of the scroll bar below the box, `edge` whether a frame shows that
// there is more, `code` whether it is a block of code (and not something that code has printed).
() => {
  const SLACK = 1.5; // pixels; browsers round
  const OUTPUT = "pre, table, .output, .cell_output, .math, .pst-scrollable-table-container";
  // Not for the eye: for screen readers, printers; inside of MathJax and of drawings, which are looked at below.
  const NEVER = ".onlyprint, .visually-hidden, .sr-only, .skip-link, [hidden], dialog:not([open]), script, style, noscript, " +
    ".tooltip, option, .noUi-base, .noUi-base *, mjx-assistive-mml";
  const INSIDE = "mjx-container, svg";
  const width = document.documentElement.clientWidth;
  const visible = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;
  const shown = (e) => !e.closest(NEVER) && !e.parentElement.closest(INSIDE) && visible(e);
  const elements = [...document.body.querySelectorAll("*")].filter(shown);

  const path = (e) => {
    const steps = [];
    for (let at = e; at && at !== document.body && steps.length < 4; at = at.parentElement) {
      steps.unshift(at.tagName.toLowerCase() + (at.id ? `#${at.id}` : "") + [...at.classList].slice(0, 3).map((c) => `.${c}`).join(""));
      if (at.id) break;
    }
    return steps.join(" > ");
  };
  const found = [];
  const add = (kind, element, wider, text = element.innerText ?? element.textContent) => {
    const style = getComputedStyle(element);
    const borders = parseFloat(style.borderTopWidth) + parseFloat(style.borderBottomWidth);
    found.push({
      element,
      kind,
      selector: path(element),
      text: text.trim().replace(/\s+/g, " ").slice(0, 60),
      wider: Math.round(wider),
      bar: Math.max(0, Math.round(element.offsetHeight - element.clientHeight - borders) || 0),
      edge: element.closest(".tl-frame")?.matches("[data-more]") ?? false,
      code: element.matches("div.highlight > pre") && !element.closest(".cell_output"),
    });
  };

  const scrolls = (overflow) => overflow === "auto" || overflow === "scroll";
  const hides = (overflow) => overflow === "hidden" || overflow === "clip";

  // Boxes that scroll or hide.
  for (const e of elements) {
    const style = getComputedStyle(e);
    if (e.matches("select")) {
      // Its words are drawn by the browser: would it be wider if it could?
      const [now, before] = [e.getBoundingClientRect().width, e.style.cssText];
      e.style.cssText += "; width: max-content !important; max-width: none !important; min-width: 0 !important; flex: none !important";
      const wanted = e.getBoundingClientRect().width;
      e.style.cssText = before;
      if (wanted > now + SLACK) add("clipped", e, wanted - now);
      continue;
    }
    if (style.display === "inline") continue;
    const wider = e.scrollWidth - e.clientWidth;
    const higher = e.scrollHeight - e.clientHeight;
    if (wider > SLACK && hides(style.overflowX)) add("clipped", e, wider);
    else if (wider > SLACK && (scrolls(style.overflowX) || e.matches(OUTPUT))) add("scrolls", e, wider);
    else if (e.closest("article") && higher > SLACK && hides(style.overflowY)) add("clipped", e, higher);
    else if (e.closest("article") && higher > SLACK && scrolls(style.overflowY)) add("squeezed", e, higher);
  }

  // What leaves its own box or the window, unless a box that scrolls or hides (see above) holds it.
  const holder = (e) => {
    for (let at = e; at && at !== document.body; at = at.parentElement) {
      const { overflowX } = getComputedStyle(at);
      if (scrolls(overflowX) || hides(overflowX)) return at;
    }
    return null;
  };
  const block = (e) => {
    let at = e;
    while (at !== document.body && ["inline", "contents"].includes(getComputedStyle(at).display)) at = at.parentElement;
    return at;
  };
  const look = (e, box, { left, right }, text) => {
    const hold = holder(e);
    if (!hold && Math.max(right - width, -left) > SLACK) return add("outside", e, Math.max(right - width, -left), text);
    if (e.closest("pre")) return; // long lines lie in one box, which is looked at above
    const own = box.getBoundingClientRect();
    const beyond = Math.max(right - own.right, own.left - left);
    if (beyond > SLACK && !(hold && box.contains(hold))) add("spills", e, beyond, text);
  };
  for (const e of elements) {
    if (e.matches("img, svg, canvas, video, input, select, button, mjx-container")) {
      const rect = e.getBoundingClientRect();
      if (rect.width && !e.closest("div.math")) look(e, block(e.parentElement), rect, e.alt || e.ariaLabel || e.textContent);
    }
    if (e.matches(INSIDE)) continue;
    for (const node of e.childNodes) {
      if (node.nodeType !== Node.TEXT_NODE || !node.data.trim()) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const rects = [...range.getClientRects()].filter((r) => r.width && r.height);
      if (!rects.length) continue;
      const [left, right] = [Math.min(...rects.map((r) => r.left)), Math.max(...rects.map((r) => r.right))];
      look(e, block(e), { left, right }, node.data);
    }
  }

  // Words in a drawing that its edge cuts.
  for (const words of document.querySelectorAll("article svg text")) {
    const drawing = words.ownerSVGElement;
    if (!visible(words) || drawing.closest("mjx-container") || drawing.closest(NEVER) || getComputedStyle(drawing).overflow === "visible") continue;
    const [inner, outer] = [words.getBoundingClientRect(), drawing.getBoundingClientRect()];
    const beyond = Math.max(inner.right - outer.right, outer.left - inner.left, inner.bottom - outer.bottom, outer.top - inner.top);
    if (beyond > SLACK) add("clipped", words, beyond);
  }

  // Each place once: a box around a cut box only says the same again.
  const cut = new Set(found.map((one) => one.element));
  const outer = new Set();
  for (const element of cut) for (let at = element.parentElement; at; at = at.parentElement) if (cut.has(at)) outer.add(at);
  const once = found.filter(({ element }) => !outer.has(element) && cut.delete(element));
  return once.map(({ element, ...rest }) => rest);
}
