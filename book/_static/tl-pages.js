// Loaded on every page. What CSS alone cannot do so that nothing is cut off, and the theme's panels on a phone.

/** Put an element of this class around `inner` and return it. */
function wrapped(inner, name) {
  const outer = document.createElement("div");
  outer.className = name;
  inner.replaceWith(outer);
  outer.append(inner);
  return outer;
}

/** The heading that a reader saw last before `element`. */
function headingOf(element) {
  const heading = element.closest("section")?.querySelector(":scope > :is(h1, h2, h3, h4, h5)")?.cloneNode(true);
  heading?.querySelector(".headerlink")?.remove();
  return heading?.textContent.trim() ?? document.title;
}

/**
 * Keep the frame's edges, and the keyboard's way into the box, in step with whether there is more to see.
 * A table that is too wide is set tighter first.
 */
function watch(box, frame, kind) {
  const table = box.querySelector(":scope > table");
  let named = false;
  let width = 0;
  const hidden = () => box.scrollWidth - box.clientWidth;
  const look = () => {
    if (table && box.clientWidth !== width) {
      width = box.clientWidth;
      table.classList.remove("tl-tight");
      table.classList.toggle("tl-tight", hidden() > 1);
    }
    const more = hidden();
    if (more > 1) {
      frame.dataset.more = [box.scrollLeft > 1 && "left", more - box.scrollLeft > 1 && "right"].filter(Boolean).join(" ");
      if (named || !kind) return;
      box.tabIndex = 0;
      box.setAttribute("role", "region");
      box.setAttribute("aria-label", `${kind}, ${headingOf(box)}: scrolls sideways`);
      named = true;
    } else {
      delete frame.dataset.more;
      if (named) for (const attribute of ["role", "aria-label", "tabindex"]) box.removeAttribute(attribute);
      named = false;
    }
  };
  const observer = new ResizeObserver(look);
  observer.observe(box);
  for (const child of box.children) observer.observe(child);
  box.addEventListener("scroll", look, { passive: true });
  look();
}

/** Set an equation that is too wide in smaller letters, down to three quarters; below that it scrolls. */
function fitted(math) {
  let width = 0;
  const fit = () => {
    const box = math.querySelector("mjx-container");
    if (!box || math.clientWidth === width) return;
    if (!width) watch(box, math, "");
    width = math.clientWidth;
    box.dataset.size ??= parseFloat(box.style.fontSize) || 100;
    for (let share = 100; share >= 75; share -= 5) {
      box.style.fontSize = `${(box.dataset.size * share) / 100}%`;
      if (box.scrollWidth <= box.clientWidth + 1) return;
    }
    box.style.fontSize = `${box.dataset.size}%`;
  };
  math.classList.add("tl-frame");
  new ResizeObserver(fit).observe(math); // MathJax sets it after this script, and a window may be turned
  fit();
}

/** On a narrow screen: a tap on an entry of this page closes the panel and goes there. */
function closing(dialog) {
  dialog.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='#']");
    if (!link || !dialog.open) return;
    event.preventDefault();
    const there = link.getAttribute("href");
    // The theme moves the panel's content back when it is closed; only then the page has its own shape again.
    dialog.addEventListener("close", () => {
      if (there !== location.hash) location.hash = there;
      else document.getElementById(decodeURIComponent(there.slice(1)))?.scrollIntoView();
    }, { once: true });
    dialog.close();
  });
  // Whoever comes back from another page wants to see this one, and not the panel left open.
  window.addEventListener("pagehide", () => dialog.close());
}

document.querySelectorAll("dialog[id$='-sidebar-modal']").forEach(closing);
document.querySelectorAll("article table").forEach((table, place) => {
  if (table.matches(".indextable, .highlighttable") || table.parentElement.closest("table, .jupyter-widgets")) return;
  const box = table.closest(".pst-scrollable-table-container") ?? wrapped(table, "tl-scroll");
  box.classList.add("tl-scroll");
  watch(box, wrapped(box, "tl-frame"), `Table ${place + 1}`);
});
document.querySelectorAll("article div.highlight > pre").forEach((code, place) => {
  code.parentElement.classList.add("tl-frame");
  watch(code, code.parentElement, `Code ${place + 1}`);
});
document.querySelectorAll("article div.math").forEach(fitted);
