/* JupyterLab shows the book, not its markup. Loaded as it stands, with no build: JupyterLab asks each extension for an
object with `init` and `get` (a module-federation container), and hands it the modules that all extensions share. */

(() => {
  const NAME = 'transfer-learning-book';
  const here = document.currentScript.src;
  let shared;

  const lab = async name => (await Object.values(shared[name])[0].get())();

  async function plugin() {
    const [{ IMarkdownParser }, { ServerConnection }, { translate }] = await Promise.all([
      lab('@jupyterlab/rendermime'),
      lab('@jupyterlab/services'),
      import(new URL('markup.js', here)),
    ]);

    /* What the book's names stand for; null where there is no book, and JupyterLab then stays as it was. */
    async function fetchIndex(settings) {
      const answer = await ServerConnection.makeRequest(`${settings.baseUrl}${NAME}/index`, {}, settings);
      return answer.ok ? answer.json() : null;
    }

    function activate(app, parser) {
      const index = fetchIndex(app.serviceManager.serverSettings).catch(error => {
        console.error(`${NAME}: the chapters show their markup, as the server does not answer`, error);
        return null;
      });

      /* Only what is shown is rewritten. The cell's text, and so the file, stays. */
      const render = parser.render;
      parser.render = async (text, ...rest) => {
        const known = await index;
        return render.call(parser, known ? translate(text, known) : text, ...rest);
      };

      const style = document.createElement('link');
      style.rel = 'stylesheet';
      style.href = new URL('book.css', here);
      document.head.append(style);

      void index.then(known => known && app.docRegistry.setDefaultWidgetFactory('markdown', 'Markdown Preview'));

      /* A reader who asked for a file, or comes back to open ones, goes on there; others get the start page. */
      const asked = /\/tree\//.test(window.location.pathname);
      void Promise.all([index, app.restored]).then(([known]) => {
        const reading = asked || [...app.shell.widgets('main')].some(widget => widget.context);
        if (known?.start && !reading) void app.commands.execute('docmanager:open', { path: known.start });
      });
    }

    return {
      id: `${NAME}:plugin`,
      description: 'Renders terms, links, citations and boxes of the book, and opens its start page.',
      autoStart: true,
      requires: [IMarkdownParser],
      activate,
    };
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: scope => {
      shared = scope;
    },
    get: async () => {
      const ours = await plugin();
      return () => ({ __esModule: true, default: ours });
    },
  };
})();
