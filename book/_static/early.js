// Runs before every other script of a page: what the theme, MathJax and the widget manager must agree on.

// The theme's icon script would replace <i> elements; widgets hold on to theirs. So it puts pictures inside.
window.FontAwesomeConfig = { autoReplaceSvg: 'nest' };

// The widget manager asks for maths in the way of MathJax 2. MathJax 3 replaces its own global while it starts,
// so the old name is added whenever the global is set.
(function () {
  let mathjax;
  function typeset([, , element]) {
    element.classList.add('mathjax_process');
    window.MathJax.startup?.promise.then(() => window.MathJax.typesetPromise([element]));
  }
  Object.defineProperty(window, 'MathJax', {
    configurable: true,
    get: () => mathjax,
    set: function (value) {
      mathjax = value;
      if (value && !value.Hub) value.Hub = { Queue: typeset };
    },
  });
})();

// Paper is light, whatever the screen was.
(function () {
  const root = document.documentElement;
  let screen;
  window.addEventListener('beforeprint', () => { screen = root.dataset.theme; root.dataset.theme = 'light'; });
  window.addEventListener('afterprint', () => { root.dataset.theme = screen; });
})();

// A browser lets no page from a folder read another, so the search shows what it finds without excerpts there.
if (location.protocol === 'file:') window.fetch = () => Promise.resolve(new Response(''));

// What a fold or a field is called is written on it; a second name beside that would contradict it. An icon's title
// would be a second name too, of its button, which has one; it goes while the page is still being read, before the
// theme's icon script sees it.
(function () {
  const named = 'summary[aria-label], .search-button-field[aria-label]';
  const tidy = () => {
    document.querySelectorAll(named).forEach((element) => element.removeAttribute('aria-label'));
    document.querySelectorAll('button[aria-label] > i[title]').forEach((icon) => icon.removeAttribute('title'));
  };
  const reading = new MutationObserver(tidy);
  reading.observe(document.documentElement, { childList: true, subtree: true });
  document.addEventListener('DOMContentLoaded', () => { tidy(); reading.disconnect(); });
})();
