// A source's page: all its features in one picture and in one table.
import { request, requestBytes } from './api.js';
import { cloud, readSummary } from './cloud.js';
import { h, svg } from './dom.js';
import { count, percent, short } from './format.js';
import { featurePath, modelPath, reportPath, searchPath, setQuery } from './paths.js';
import { feature, label, meaning } from './dashboard.js';
import { describe } from './sources.js';

const PAGE = 50;
const TYPING_MS = 200;
const KEYS = [['/', 'search'], ['Ctrl + wheel', 'zooms the picture'], ['← →', 'turn the page of the table']];
const COLUMNS = [
  { name: 'index', words: 'Index', first: 'asc', number: true },
  { name: 'label', words: 'What it is', first: 'asc' },
  { name: 'density', words: 'Density', first: 'desc', number: true },
  { name: 'max', words: 'Maximum', first: 'desc', number: true },
];
/** Neurons have a value on every token: neither a density nor a zero tells them apart. */
const columnsOf = (dense) => COLUMNS.filter(({ name }) => !dense || name !== 'density');
const filtersOf = (dense) => FILTERS.filter(({ name }) => !dense || !['alive', 'dead'].includes(name));
const FILTERS = [
  { name: 'all', words: 'All features', filter: {} },
  { name: 'explained', words: 'Explained', filter: { explained: true } },
  { name: 'unexplained', words: 'Not explained', filter: { explained: false } },
  { name: 'alive', words: 'Fired', filter: { dead: false } },
  { name: 'dead', words: 'Never fired', filter: { dead: true } },
];

const api = (model, source, rest = '') => `/api/source/${encodeURIComponent(model)}/${encodeURIComponent(source)}${rest}`;

function headline({ model, source }) {
  const name = h('h1', {}, describe(source).label);
  const totals = h('p', { class: 'totals', id: 'totals' }, '\u00a0');
  const { dense, thing } = describe(source);
  const random = h('button', {
    type: 'button', class: 'plain', id: 'random',
    onclick: async () => {
      const { data } = await request(`/api/random/${encodeURIComponent(model)}/${encodeURIComponent(source)}`);
      location.href = featurePath(model, source, Number(data.index));
    },
  }, `Random ${thing}`);
  const element = h('div', { class: 'headline' },
    h('div', { class: 'where' },
      h('nav', { class: 'crumbs', 'aria-label': 'Where this is' },
        h('a', { href: modelPath(model) }, model), h('span', { 'aria-hidden': 'true' }, '/'), h('span', { 'aria-current': 'page' }, source)),
      h('div', { class: 'steps' }, random, dense ? '' : h('a', { class: 'plain', id: 'report', href: reportPath(model, source) }, 'What it leaves unexplained'),
        h('a', { class: 'plain', href: searchPath({ source, in: 'fires' }) }, 'Search by token'))),
    name, totals);
  return { element, name, totals };
}

const wordsOf = (source, active) => [
  source.tokens > 0 && `${count(source.tokens)} tokens`,
  source.documents > 0 && `${count(source.documents)} contexts of ${source.context}`,
  source.corpora?.length > 0 && source.corpora.join(', '),
  describe(source.id).dense ? `${count(source.d_sae)} ${describe(source.id).thing}s`
    : source.alive !== null && source.d_sae && `${count(source.alive)} of ${count(source.d_sae)} features fired`,
  active > 0 && `${active.toFixed(1)} active on a token`,
].filter(Boolean).join(' · ');

/** The table, its search, its order and its pages: one state, kept in the address. */
function table({ model, source }, { onPoint }) {
  const query = new URLSearchParams(location.search);
  const { dense, thing } = describe(source);
  const columns = columnsOf(dense);
  const columnNames = columns.map(({ name }) => name);
  const state = {
    sort: columnNames.includes(query.get('sort')) ? query.get('sort') : 'index',
    order: query.get('order') === 'desc' ? 'desc' : 'asc',
    filter: filtersOf(dense).some(({ name }) => name === query.get('filter')) ? query.get('filter') : 'all',
    within: query.get('q') ?? '', offset: Math.max(0, Number(query.get('offset')) || 0),
  };
  let total = 0;
  let asking = null;
  let timer = null;

  const heads = columns.map((column) => h('th', { scope: 'col', class: column.number ? 'number' : null },
    h('button', { type: 'button', 'data-sort': column.name, onclick: () => sortBy(column) }, column.words)));
  const rows = h('tbody');
  const within = h('input', { type: 'search', id: 'within', placeholder: 'Search within this source', 'aria-label': 'Search within this source' });
  const filter = h('select', { id: 'filter', 'aria-label': `Which ${thing}s` }, filtersOf(dense).map(({ name, words }) => h('option', { value: name }, name === 'all' ? `All ${thing}s` : words)));
  const previous = h('button', { type: 'button', class: 'plain', id: 'earlier', 'aria-label': 'Previous page', onclick: () => turn(-1) }, '‹');
  const next = h('button', { type: 'button', class: 'plain', id: 'later', 'aria-label': 'Next page', onclick: () => turn(1) }, '›');
  const said = h('span', { id: 'range', role: 'status' });
  const problem = h('div', { class: 'notice', role: 'alert', hidden: true });
  const element = h('section', { 'aria-label': 'Features' },
    h('div', { class: 'within' }, within, filter, h('div', { class: 'pager' }, said, previous, next)), problem,
    h('table', { class: 'listing' }, h('thead', {}, h('tr', {}, heads)), rows));
  within.value = state.within;
  filter.value = state.filter;

  function change(what, push = false) {
    Object.assign(state, { offset: 0 }, what);
    setQuery({
      sort: state.sort === 'index' ? null : state.sort, order: state.order === 'asc' ? null : state.order,
      filter: state.filter === 'all' ? null : state.filter, q: state.within, offset: state.offset || null,
    }, { push });
    load();
  }
  function sortBy({ name, first }) {
    const other = state.order === 'asc' ? 'desc' : 'asc';
    change({ sort: name, order: state.sort === name ? other : first });
  }
  function turn(by) {
    const offset = state.offset + by * PAGE;
    if (offset >= 0 && offset < total) change({ offset });
  }

  function row(one, largest) {
    const path = featurePath(model, source, one.index);
    const { text, isLabel } = one;
    return h('tr', { 'data-index': one.index },
      h('td', { class: 'number' }, h('a', { href: path }, String(one.index))),
      h('td', { class: isLabel ? 'label' : null, title: text || null }, text ? h('a', { href: path, tabindex: -1 }, text) : ''),
      dense ? '' : h('td', { class: 'number' }, one.density === null ? '–' : percent(one.density)),
      h('td', { class: 'number' }, svg('svg', { class: 'amount', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        svg('rect', { width: largest > 0 ? (100 * one.maximum) / largest : 0, height: 4 })), one.maximum > 0 ? short(one.maximum) : '–'));
  }
  function draw(list) {
    const largest = Math.max(0, ...list.map((one) => one.maximum));
    rows.replaceChildren(...list.map((one) => row(one, largest)));
    const last = Math.min(total, state.offset + list.length);
    said.textContent = total ? `${count(state.offset + 1)}–${count(last)} of ${count(total)}` : 'none';
    previous.disabled = state.offset === 0;
    next.disabled = last >= total;
    heads.forEach((head, i) => {
      if (columns[i].name === state.sort) head.setAttribute('aria-sort', state.order === 'asc' ? 'ascending' : 'descending');
      else head.removeAttribute('aria-sort');
    });
    element.dataset.shown = JSON.stringify([state.sort, state.order, state.filter, state.within, state.offset]);
  }
  async function load() {
    asking?.abort();
    asking = new AbortController();
    try {
      const { filter: chosen } = FILTERS.find(({ name }) => name === state.filter);
      const { data } = await request('/api/source/features', {
        modelId: model, source, sort: state.sort, order: state.order, offset: state.offset, limit: PAGE,
        filter: { ...chosen, ...(state.within ? { text: state.within } : {}) },
      }, { signal: asking.signal });
      ({ total } = data);
      problem.hidden = true;
      draw(data.features.map((one) => ({
        index: Number(one.index), text: one.explanation ?? label(one.label), isLabel: !one.explanation,
        density: one.frac_nonzero, maximum: one.maxActApprox ?? 0,
      })));
    } catch (error) {
      if (error.name === 'AbortError') return;
      problem.replaceChildren(h('p', {}, error.message));
      problem.hidden = false;
    }
  }

  within.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(() => change({ within: within.value.trim() }), TYPING_MS);
  });
  filter.addEventListener('change', () => change({ filter: filter.value }));
  const pointAt = (event) => onPoint(Number(event.target.closest('tr')?.dataset.index ?? NaN));
  rows.addEventListener('pointerover', pointAt);
  rows.addEventListener('focusin', pointAt);
  rows.addEventListener('pointerleave', () => onPoint(NaN));
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, textarea, select, dialog')) return;
    if (event.key === 'ArrowRight') turn(1);
    else if (event.key === 'ArrowLeft') turn(-1);
  });
  return { element, load };
}

/** The picture with the line that says what is pointed at. */
function picture({ model, source }, summary, tokens) {
  const hint = 'Each dot is a feature. Point at one, drag to move, Ctrl + wheel to zoom.';
  const pointed = h('p', { class: 'pointed', id: 'pointed' }, hint);
  const words = new Map();
  let timer = null;

  function say(one) {
    const text = words.get(one.index);
    pointed.replaceChildren(h('a', { href: featurePath(model, source, one.index) }, String(one.index)),
      ` · density ${percent(one.density)} · maximum ${short(one.maximum)}${text ? ` · ${text}` : ''}`);
    pointed.dataset.index = one.index;
  }
  /** What it means is asked for once the pointer rests. */
  function look(one) {
    clearTimeout(timer);
    if (words.has(one.index)) return;
    timer = setTimeout(async () => {
      try {
        const { data: [row] } = await request('/api/features', [{ modelId: model, layer: source, index: one.index, maxActsToReturn: 0 }]);
        words.set(one.index, meaning(feature(row)).text);
        if (Number(pointed.dataset.index) === one.index) say(one);
      } catch {
        // The numbers stand without words.
      }
    }, 120);
  }
  const drawing = cloud(summary, {
    tokens,
    onPoint(one) {
      if (!one) return clearTimeout(timer);
      say(one);
      look(one);
    },
    onOpen(index, event) {
      const path = featurePath(model, source, index);
      if (event.ctrlKey || event.metaKey) open(path, '_blank', 'noopener');
      else location.href = path;
    },
  });
  return { element: h('section', { 'aria-label': 'All features' }, drawing.element, pointed), ring: drawing.ring, where: drawing.where };
}

function notIndexed({ model, source }) {
  return h('div', { class: 'empty', id: 'notindexed' }, h('h2', {}, 'Not indexed yet'),
    h('p', {}, `${describe(source).dense ? 'What drives each of them up and down' : 'How often its features fire, and on what,'} is not known before a corpus has been read:`),
    h('pre', { tabindex: '0' }, `./darkmatter index --source ${source}`),
    h('p', { class: 'muted' }, `Every ${describe(source).thing} has its page already: `, h('a', { href: featurePath(model, source, 0) }, `${describe(source).thing} 0`), '.'));
}

export async function openSource(main, frame, names) {
  const { model, source } = names;
  const facts = request(api(model, source));
  const bytes = describe(source).dense ? Promise.resolve(null) : requestBytes(api(model, source, '/summary'));
  bytes.catch(() => {}); // a source that is not indexed has none; its facts say so
  const head = headline(names);
  let ring = () => {};
  const list = table(names, { onPoint: (index) => ring(Number.isNaN(index) ? null : index) });
  frame.keys(KEYS);
  frame.searchKey();
  frame.title(source);
  const place = h('div', { class: 'place' });
  main.replaceChildren(head.element, place, list.element);
  list.load();
  frame.fill().then(({ source_details: all }) => {
    head.name.textContent = describe(source, all?.find(({ name }) => name === source)).label;
  }, () => {});
  try {
    const { data } = await facts;
    head.totals.textContent = wordsOf(data, 0);
    if (data.indexed === false) {
      head.totals.textContent = '';
      place.replaceChildren(notIndexed(names));
      list.element.hidden = !data.imported && !data.explanations;
      return;
    }
    if (describe(source).dense) {
      place.replaceChildren(h('p', { class: 'dense muted' }, 'Neurons have a value on every token, above or below 0, so there is no density to tell them apart. Each one’s page shows both ends.'));
      return;
    }
    const summary = readSummary(await bytes);
    const fired = summary.counts.reduce((sum, one) => sum + one, 0);
    head.totals.textContent = wordsOf(data, fired / data.tokens);
    const drawn = picture(names, summary, data.tokens);
    ring = drawn.ring;
    place.replaceChildren(drawn.element);
    // For whoever drives the page from outside: where a feature's dot is.
    main.where = drawn.where;
  } catch (error) {
    place.replaceChildren(h('div', { class: 'notice', role: 'alert' }, h('p', {}, error.message)));
    if (error.status !== 404) return;
    list.element.hidden = true;
    head.element.querySelector('.steps').hidden = true;
    place.append(h('p', {}, h('a', { href: modelPath(model) }, `The sources of ${model}`)));
  }
}
