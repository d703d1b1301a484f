// What stands around every view: the model, the source picker, the search box, the theme, the keys.
import { request } from './api.js';
import { h } from './dom.js';
import { watchIndexing } from './indexing.js';
import { modelPath, sourcePath } from './paths.js';
import { catalogue, describe, options } from './sources.js';

const byId = (id) => document.getElementById(id);

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

/** The way from tool to tool: the text that is looked at comes along. */
function rooms(nav) {
  const links = [...nav.querySelectorAll('a')].map((link) => ({ link, path: link.getAttribute('href') }));
  const here = links.find(({ path }) => path === location.pathname)?.link;
  here?.setAttribute('aria-current', 'page');
  if (here) nav.scrollLeft = here.offsetLeft + here.offsetWidth - nav.offsetLeft - nav.clientWidth;
  function carry() {
    const text = new URLSearchParams(location.search).get('text');
    for (const { link, path } of links) link.href = text === null ? path : `${path}?${new URLSearchParams({ text })}`;
  }
  for (const event of ['pointerover', 'focusin', 'pointerdown']) nav.addEventListener(event, carry);
}

let asked = null;
/** What /v1/capabilities says, asked once a page. */
export function capabilities() {
  asked ??= request('/v1/capabilities').then(({ data }) => ({ ...data, catalogue: catalogue(data) }));
  asked.catch(() => { asked = null; });
  return asked;
}

/** @param names {model?, source?} of the address: known before the server has said anything */
export function openFrame({ model = '', source = '' }) {
  const name = byId('model');
  const browse = byId('browse');
  const query = new URLSearchParams(location.search);
  const embedded = query.get('embed') === 'true';
  document.documentElement.classList.toggle('embedded', embedded);
  themeToggle(byId('theme'));
  rooms(byId('rooms'));

  function showModel(id) {
    name.textContent = id;
    if (!id) return;
    name.href = modelPath(id);
    name.title = 'All sources of the model, and what the words mean';
    byId('glossary').href = `${modelPath(id)}#words`;
    byId('glossary').hidden = false;
  }
  function showSources(id, sources) {
    showModel(id);
    const known = sources.some((one) => one.name === source);
    browse.replaceChildren(
      ...(known ? [] : [h('option', { value: '', disabled: true, selected: true }, source ? describe(source).label : 'Browse a source')]),
      ...options(sources));
    if (known) browse.value = source;
    browse.hidden = sources.length === 0;
    browse.onchange = () => { location.href = sourcePath(id, browse.value); };
  }
  showModel(model);
  byId('q').value = location.pathname === '/search' ? query.get('q') ?? '' : '';

  const frame = {
    keys(list) {
      byId('keys').replaceChildren(...list.flatMap(([key, does]) => [h('kbd', {}, key), ` ${does}  `]));
    },
    showSources,
    /** For views that can do without: the header is filled when the server has answered. */
    async fill() {
      const data = await capabilities();
      showSources(data.model, data.catalogue);
      return data;
    },
    /** "/" goes to the search box, except where a view has a better place. */
    searchKey() {
      document.addEventListener('keydown', (event) => {
        if (event.key !== '/' || event.target.closest('input, textarea, select, dialog')) return;
        event.preventDefault();
        byId('q').focus();
      });
    },
    title(text) { document.title = `${text} · darkmatter`; },
  };
  if (!embedded) watchIndexing(byId('indexing'));
  return frame;
}
