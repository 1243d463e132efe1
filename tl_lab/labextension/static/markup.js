/* The book's MyST as the Markdown (and a little HTML) that JupyterLab renders.

translate(source, index) rewrites text before JupyterLab's own renderer sees it; math, links, code and safety stay the
renderer's business. `index` comes from tl_lab/__init__.py. What cannot be resolved gets the class `tl-unresolved`, which
the tests look for. */

export function translate(source, index) {
  return blocks(source.split('\n'), index).join('\n');
}

const escape = text => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
const slug = text => text.trim().toLowerCase().replace(/\s+/g, '-');
const unresolved = (what, text) => `<span class="tl-unresolved" title="${escape(what)} is not in this book">${text}</span>`;

/* ------------------------------------------------- blocks: fences ------------------------------------------------- */

/* Lines to lines: directives become HTML blocks with their Markdown inside, code stays, the rest is text. */
function blocks(lines, index) {
  const out = [];
  let text = [];
  const flush = () => {
    if (text.length) out.push(inline(text.join('\n'), index));
    text = [];
  };
  for (let at = 0; at < lines.length; at++) {
    const fence = /^(\s*)(`{3,}(?=[^`]*$)|~{3,}|:{3,})(.*)$/.exec(lines[at]);
    const directive = fence && /^\s*\{([^}]+)\}\s*(.*?)\s*$/.exec(fence[3]);
    const label = /^\(([\w-]+)\)=\s*$/.exec(lines[at]);
    if (fence && (directive || fence[2][0] !== ':')) {
      const [, indent, mark] = fence;
      const end = closing(lines, at, mark);
      flush();
      if (directive) {
        const body = lines.slice(at + 1, end).map(line => (line.startsWith(indent) ? line.slice(indent.length) : line));
        const html = render(directive[1], directive[2], ...options(body), index);
        out.push('', ...html.map(line => (line ? indent + line : line)), '');
      } else {
        out.push(...lines.slice(at, end + 1));
      }
      at = end;
    } else if (label) {
      text.push(`<span id="${label[1]}"></span>`, '');
    } else if (!/^%\s/.test(lines[at])) {
      text.push(lines[at]);
    }
  }
  flush();
  return out;
}

/* Where a fence ends: at a line of its own character, at least as long; else with the text. */
function closing(lines, start, mark) {
  for (let at = start + 1; at < lines.length; at++) {
    const line = lines[at].trim();
    if (line.length >= mark.length && line === mark[0].repeat(line.length)) return at;
  }
  return lines.length;
}

/* A directive's `:name: value` lines, and what follows them. */
function options(body) {
  const found = {};
  let at = 0;
  for (; at < body.length; at++) {
    const option = /^:([\w-]+):\s*(.*?)\s*$/.exec(body[at]);
    if (!option) break;
    found[option[1]] = option[2];
  }
  return [found, body.slice(at)];
}

const BOXES = ['admonition', 'attention', 'caution', 'danger', 'dropdown', 'error', 'exercise', 'hint', 'important', 'note',
  'seealso', 'solution', 'tip', 'toggle', 'warning'];
const PLAIN = ['card', 'container', 'div', 'grid', 'grid-item', 'tab-set'];
const TITLED = ['card', 'grid-item-card', 'tab-item'];
const GENERATED = ['eval-rst', 'tl-costs', 'tl-recorded', 'tl-status', 'tl-versions'];

/* One directive as lines of HTML, with blank lines around the Markdown inside. */
function render(name, argument, options, body, index) {
  const id = options.label || options.name ? ` id="${escape(options.label || options.name)}"` : '';
  const inside = () => ['', ...blocks(body, index), ''];
  const title = text => ['<div class="tl-title">', '', inline(text, index), '', '</div>'];
  if (BOXES.includes(name)) {
    const kind = name === 'seealso' ? 'See also' : name[0].toUpperCase() + name.slice(1);
    const words = name === 'exercise' && argument ? `Exercise: ${argument}` : argument || kind;
    const box = `class="tl-box tl-${name} ${escape(options.class ?? '')}"${id}`;
    if (['dropdown', 'toggle'].includes(name) || /dropdown/.test(options.class ?? '')) {
      const summary = `<summary>${words}</summary>`;
      return [`<details ${box}${'open' in options ? ' open' : ''}>`, inline(summary, index), ...inside(), '</details>'];
    }
    return [`<div ${box}>`, '', ...title(words), ...inside(), '</div>'];
  }
  if (TITLED.includes(name)) {
    const words = options.link ? `[${argument}](${options.link})` : argument;
    return ['<div class="tl-card">', '', ...(argument ? title(words) : []), ...inside(), '</div>'];
  }
  switch (name) {
    case 'math':
      return [`<div${id}>`, `$$${escape(body.join(' ').trim())}$$`, '</div>'];
    case 'code':
    case 'code-block':
    case 'sourcecode':
      return ['```' + argument, ...body, '```'];
    case 'figure':
    case 'image':
      return figure(argument, options, id, inside);
    case 'glossary':
      return terms(body, index);
    case 'bibliography':
      return Object.entries(index.citations).map(([key, { full }]) => `<p id="ref-${escape(key)}">${escape(full)}</p>`);
    case 'list-table':
      return table(body, 'header-rows' in options, index);
  }
  if (GENERATED.includes(name)) {
    const module = /automodule:: (\S+)/.exec(body.join('\n'));
    return [module
      ? `*The built site describes each function here. In a notebook, run* \`help("${module[1]}")\`*.*`
      : '*This part is written when the site is built: run* `make book`*, then* `make serve`*.*'];
  }
  if (PLAIN.includes(name)) return ['<div>', ...inside(), '</div>'];
  return ['<div class="tl-box">', '', unresolved(`The directive ${name}`, argument || name), ...inside(), '</div>'];
}

function figure(source, options, id, inside) {
  const size = options.width ? ` width="${escape(options.width.replace(/px$/, ''))}"` : '';
  const image = `<img src="${escape(relative(source))}" alt="${escape(options.alt ?? '')}"${size}>`;
  return [`<figure class="${escape(options.class ?? '')}"${id}>`, image, '<figcaption>', ...inside(), '</figcaption>', '</figure>'];
}

/* The entries of a glossary: one or more terms at the left edge, their definition indented. */
function terms(body, index) {
  const out = ['<dl class="tl-glossary">'];
  for (let at = 0; at < body.length; at++) {
    if (!/^\S/.test(body[at])) continue;
    out.push(`<dt id="term-${escape(slug(body[at]))}">${escape(body[at])}</dt>`);
    const definition = [];
    while (at + 1 < body.length && !/^\S/.test(body[at + 1])) definition.push(body[++at].trim());
    if (definition.some(Boolean)) out.push('<dd>', '', ...blocks(definition, index), '', '</dd>');
  }
  return [...out, '</dl>'];
}

/* A table written as a list of lists: `* - ` starts a row, `  - ` a cell. */
function table(body, header, index) {
  const rows = [];
  for (const line of body) {
    const [, row, cell, text] = /^(\* )?(?: {2})?(- )?(.*)$/.exec(line);
    if (row) rows.push([]);
    if (cell) rows.at(-1)?.push([]);
    rows.at(-1)?.at(-1)?.push(text.trim());
  }
  const out = ['<table>'];
  rows.forEach((cells, number) => {
    const tag = header && number === 0 ? 'th' : 'td';
    out.push('<tr>', ...cells.flatMap(cell => [`<${tag}>`, '', ...blocks(cell, index), '', `</${tag}>`]), '</tr>');
  });
  return [...out, '</table>'];
}

/* ------------------------------------------- inline: roles, links, names ------------------------------------------- */

const INLINE = new RegExp([
  /(?<role>\{(?<name>[a-z][\w:.-]*)\}(?<tick>`+)(?<content>[^`][\s\S]*?)\k<tick>(?!`))/,
  /(?<code>(?<fence>`+)(?!`)[\s\S]*?[^`]\k<fence>(?!`))/,
  /(?<!!)\[(?<words>[^\][]*)\]\((?<target>[^\s()]*)\)/,
  /\{\{\s*(?<substitution>\w+)\s*\}\}/,
].map(part => part.source).join('|'), 'g');

/* Roles, links to the book's files and substitutions in a piece of text; code in it stays as it is. */
function inline(text, index) {
  return text.replace(INLINE, (match, ...rest) => {
    const found = rest.at(-1);
    if (found.role) return role(found.name, found.content.replace(/\s+/g, ' ').trim(), index);
    if (found.substitution) return index.substitutions[found.substitution] ?? '*(see the built site)*';
    if (found.target !== undefined) return link(match, found.words, found.target, index);
    return match;
  });
}

const anchor = (href, words, title, kind) =>
  `<a class="tl-${kind}" href="${escape(href)}"${title ? ` title="${escape(title)}"` : ''}>${words}</a>`;

/* A link to a page is possible only where the server shows the book's folder; the tooltip is there in any case. */
const page = (href, words, title, kind, index) =>
  index.pages ? anchor(href, words, title, kind) : `<span class="tl-${kind}" title="${escape(title)}">${words}</span>`;

/* Chapters lie in notebooks/, pages in book/: from either, the book's top is one folder up. */
const relative = target => (target.startsWith('/') ? `..${target}` : target);

function role(name, content, index) {
  const [, words, target] = /^(.*?)\s*<([^>]*)>$/.exec(content) ?? [null, null, content];
  if (name === 'term') {
    const key = Object.keys(index.terms).find(term => term.toLowerCase() === target.toLowerCase());
    if (!key) return unresolved(`The term "${target}"`, words ?? target);
    return page(`../book/glossary.md#term-${slug(key)}`, words ?? target, index.terms[key], 'term', index);
  }
  if (name === 'doc') return documentLink(words, target, index);
  if (['ref', 'numref', 'eq'].includes(name)) return labelLink(words, target, index);
  if (/^cite(:|$)/.test(name)) return cite(name, content, index);
  if (/^(py:)?(class|func|meth|mod|attr|data|exc|obj|const)$/.test(name)) {
    return '`' + (words ?? (target.startsWith('~') ? target.split('.').pop() : target)) + '`';
  }
  if (name === 'math') return `$${content}$`;
  if (['kbd', 'sub', 'sup'].includes(name)) return `<${name}>${escape(content)}</${name}>`;
  if (name.startsWith('bdg')) return `<em>${escape(content)}</em>`;
  return unresolved(`The role ${name}`, escape(content));
}

/* A page or chapter by its name: from the book's top (`/book/status`), or from where the text is (`02_workflow`). */
function documentLink(words, target, index) {
  const [name, hash] = target.split(/(?=#)/);
  const bare = name.replace(/\.(md|ipynb)$/, '');
  const known = (bare.startsWith('/') ? [bare.slice(1)] : ['notebooks/', 'book/', 'book/api/'].map(folder => folder + bare))
    .map(one => index.documents[one]).find(Boolean);
  if (!known) return unresolved(`The page "${target}"`, words || escape(target));
  const href = relative(bare) + known.path.slice(known.path.lastIndexOf('.')) + (hash ?? '');
  const make = known.path.startsWith('book/') ? page : anchor;
  return make(href, words || escape(known.title), known.title, 'doc', index);
}

function labelLink(words, target, index) {
  const known = index.labels[target];
  if (!known) return unresolved(`The label "${target}"`, words ?? escape(target));
  return page(`../${known.path}#${target}`, words ?? escape(known.title), known.title, 'doc', index);
}

/* Who and when: "(Deitsch et al. 2019; Buerhop et al. 2018)", or in the sentence "Deitsch et al. (2019)". */
function cite(name, content, index) {
  const textual = /^cite:\w*t$/.test(name);
  const each = content.split(',').map(one => one.trim()).map(key => {
    const source = index.citations[key];
    if (!source) return unresolved(`The source "${key}"`, escape(key));
    const words = textual ? `${source.who} (${source.year})` : `${source.who} ${source.year}`;
    return page(`../book/references.md#ref-${key}`, escape(words), source.full, 'cite', index);
  });
  return textual ? each.join(', ') : `(${each.join('; ')})`;
}

/* [words](/book/page), [](page.md), [](#label): names of the book, and links without words. Others stay. */
function link(match, words, target, index) {
  if (target.startsWith('#') && index.labels[target.slice(1)]) return labelLink(words || null, target.slice(1), index);
  const ours = target.startsWith('/') || !words || !/[.:#]/.test(target);
  return target && !/^\w+:/.test(target) && ours ? documentLink(words, target, index) : match;
}
