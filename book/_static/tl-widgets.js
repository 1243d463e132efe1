// Loaded after vendor/require.js and before vendor/embed-amd.js on pages that hold widget state.

// baseUrl makes AMD modules that embed-amd.js lacks (anywidget) and FontAwesome come from vendor/.
window.require.config({
  baseUrl: document.currentScript.src.replace(/[^/]*$/, "") + "vendor/",
  waitSeconds: 30,
});

// ipywidgets typesets its labels through the interface of MathJax 2. The book has MathJax 3, which replaces
// window.MathJax when it starts: offer the old call on whatever object stands there.
{
  const typeset = ([command, , element]) => {
    if (command === "Typeset" && element && window.MathJax?.startup?.promise) {
      window.MathJax.startup.promise.then(() => window.MathJax.typesetPromise([element]));
    }
  };
  const withOldInterface = (mathjax) => {
    if (mathjax && !mathjax.Hub) Object.defineProperty(mathjax, "Hub", { value: { Queue: typeset }, enumerable: false });
    return mathjax;
  };
  let current = withOldInterface(window.MathJax);
  Object.defineProperty(window, "MathJax", {
    configurable: true,
    enumerable: true,
    get: () => current,
    set: (mathjax) => { current = withOldInterface(mathjax); },
  });
}
