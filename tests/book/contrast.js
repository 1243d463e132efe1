// Texts of the outputs below `selector` that are hard to read: [{text, ratio, ink, paper, where}], contrast below 4.5 : 1.
// What lies behind a text is looked up on the screen, so a text on a bar or a coloured cell counts as what it is.
async (selector) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const known = new Map();
  function rgba(colour) {  // whatever CSS may say, as four numbers from 0 to 1
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      known.set(colour, [...canvas.getImageData(0, 0, 1, 1).data].map((v) => v / 255));
    }
    return known.get(colour);
  }
  const over = ([r, g, b, a], below) => [r, g, b].map((v, k) => v * a + below[k] * (1 - a));
  const light = (c) => c.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const isShape = (e) => e instanceof SVGGeometryElement;

  function opacity(e) {
    let all = 1;
    for (let up = e; up; up = up.parentElement) all *= parseFloat(getComputedStyle(up).opacity);
    return all;
  }
  function layer(e) {  // what an element paints over what is behind it
    const style = getComputedStyle(e);
    if (e instanceof SVGLineElement) return [0, 0, 0, 0];  // has no inside to fill
    if (isShape(e)) {
      const fill = style.fill === "none" ? [0, 0, 0, 0] : rgba(style.fill);
      return [...fill.slice(0, 3), fill[3] * parseFloat(style.fillOpacity) * opacity(e)];
    }
    if (e instanceof SVGElement && !(e instanceof SVGSVGElement)) return [0, 0, 0, 0];
    const paper = rgba(style.backgroundColor);
    return [...paper.slice(0, 3), paper[3] * opacity(e)];
  }
  function paperAt(x, y, self) {
    const stack = document.elementsFromPoint(x, y);
    if (!stack.length) return null;
    let paper = [1, 1, 1];
    for (const e of stack.reverse()) if (e === self || !(e instanceof SVGTextContentElement)) paper = over(layer(e), paper);
    return paper;
  }

  const found = [], seen = new Set();
  function judge(element, box, text) {
    const style = getComputedStyle(element);
    if (box.width < 2 || box.height < 2 || style.visibility === "hidden" || opacity(element) < 0.02) return;
    const paper = paperAt(box.left + box.width / 2, box.top + box.height / 2, element);
    if (!paper) return;
    const colour = rgba(element instanceof SVGElement ? style.fill : style.color);
    const ink = over([...colour.slice(0, 3), colour[3] * opacity(element)], paper), value = ratio(ink, paper);
    if (value >= 4.5) return;
    const hex = (c) => "#" + c.map((v) => Math.round(255 * v).toString(16).padStart(2, "0")).join("");
    const where = `${element.tagName.toLowerCase()}.${element.getAttribute("class") || ""}`;
    const line = { text: text.trim().slice(0, 40), ratio: +value.toFixed(2), ink: hex(ink), paper: hex(paper), where };
    const key = JSON.stringify([line.text, line.ink, line.paper]);
    if (!seen.has(key)) found.push(line);
    seen.add(key);
  }

  let looked = 0;
  for (const root of document.querySelectorAll(selector)) {
    const texts = [], walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) if (walker.currentNode.data.trim()) texts.push(walker.currentNode);
    const fields = [...root.querySelectorAll("select, textarea, input:not([type=range], [type=hidden], [type=radio], [type=checkbox])")];
    for (const one of [...texts, ...fields]) {
      const element = one instanceof Text ? one.parentElement : one;
      if (!element || element.closest("style, script, title, option, [aria-hidden=true]:not(svg), .visually-hidden")) continue;
      const range = document.createRange();
      if (one instanceof Text) range.selectNodeContents(one);
      const boxOf = () => (one instanceof Text ? [...range.getClientRects()][0] : one.getBoundingClientRect());
      let box = boxOf();
      if (!box) continue;
      const [top] = document.elementsFromPoint(box.left + box.width / 2, box.top + box.height / 2);
      if (!root.contains(top || null)) {  // out of the window, or below a bar of the page
        element.scrollIntoView({ block: "center", inline: "nearest", behavior: "instant" });
        box = boxOf();
      }
      looked += 1;
      judge(element, box, one instanceof Text ? one.data : one.value);
    }
  }
  return { looked, found };
}
