// Sets data-theme on <html> before anything is drawn: the stored choice, else the system's.
// A classic script, because modules run after the first paint.
(function () {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  function apply() {
    let stored = null;
    try {
      stored = localStorage.getItem('theme');
    } catch {
      // Storage may be forbidden; the system's theme serves.
    }
    document.documentElement.dataset.theme = stored ?? (dark.matches ? 'dark' : 'light');
  }
  apply();
  dark.addEventListener('change', apply);
})();
