// The entry: the frame around every view (theme, model id), and which view the address asks for.
import { openLab } from './lab.js';

const views = [{ path: /^\/(index\.html)?$/, open: openLab }];

function themeToggle(button) {
  const root = document.documentElement;
  function label() {
    const next = root.dataset.theme === 'dark' ? 'light' : 'dark';
    button.textContent = next === 'dark' ? '◐' : '◑';
    button.setAttribute('aria-label', `Use the ${next} theme`);
    button.title = `Use the ${next} theme`;
  }
  button.addEventListener('click', () => {
    const system = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
    const next = root.dataset.theme === 'dark' ? 'light' : 'dark';
    root.dataset.theme = next;
    try {
      // Choosing what the system says anyway means following the system again.
      if (next === system) localStorage.removeItem('theme');
      else localStorage.setItem('theme', next);
    } catch {
      // Not kept, then.
    }
    label();
  });
  new MutationObserver(label).observe(root, { attributeFilter: ['data-theme'] });
  label();
}

themeToggle(document.getElementById('theme'));

const main = document.getElementById('view');
const view = views.find(({ path }) => path.test(location.pathname));
if (view) {
  view.open(main, {
    model: document.getElementById('model'),
    keys: document.getElementById('keys'),
  });
} else {
  main.textContent = `There is no page at ${location.pathname}.`;
}
