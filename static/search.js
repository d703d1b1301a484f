// Search over all sources: words in explanations and labels, or features by a token.
import { examplesList } from './activations.js';
import { request } from './api.js';
import * as dashboard from './dashboard.js';
import { h } from './dom.js';
import { count, short, visible } from './format.js';
import { featurePath, searchPath, setQuery } from './paths.js';
import { describe, options } from './sources.js';

const KINDS = [['words', 'Meaning'], ['fires', 'Fires on token'], ['promotes', 'Promotes token']];
const HELP = [
  ['words', 'Meaning', 'words of explanations and of labels, in any source', 'numbers'],
  ['fires', 'Fires on token', 'features whose strongest tokens are this one', ' there'],
  ['promotes', 'Promotes token', 'features that vote for this token to come next', ' there'],
];
const SHORTEST = 3;
const BY_TOKEN = 100;

const ordinal = (place) => ['first', 'second', 'third'][place] ?? `number ${place + 1}`;

function preview(feature) {
  const [first] = feature.examples;
  if (!first || !(feature.maximum > 0)) return h('div', {});
  return h('div', { class: 'preview' }, examplesList([first], { maximum: feature.maximum }));
}

function hit(one, details) {
  const path = featurePath(one.feature.model, one.feature.source, one.feature.index);
  const { label } = describe(one.feature.source, details.get(one.feature.source));
  return h('li', { 'data-source': one.feature.source, 'data-index': one.feature.index },
    h('div', {}, h('a', { class: one.isLabel ? 'text label' : 'text', href: path }, one.text || `Feature ${one.feature.index}`),
      h('span', { class: 'by' }, h('span', {}, String(one.feature.index)), ` · ${label}${one.note ? ` · ${one.note}` : ''}`)),
    preview(one.feature));
}

const shortObject = (row) => dashboard.feature({ ...(row.neuron ?? row), modelId: row.modelId, layer: row.layer, index: row.index });

/** One page of hits by meaning. */
async function byWords({ text, model, source, offset }, signal) {
  const body = { query: text, offset };
  const path = source ? '/api/explanation/search' : '/api/explanation/search-all';
  if (source) Object.assign(body, { modelId: model, layers: [source] });
  const { data } = await request(path, body, { signal });
  return {
    next: data.hasMore ? data.nextOffset : null, total: data.total,
    hits: data.results.map((row) => ({
      feature: shortObject(row), text: row.isLabel ? dashboard.label(row.description) : row.description, isLabel: row.isLabel === true,
      note: row.explanationModelName ?? '',
    })),
  };
}

/** Features by a token: of one source or, in one request, of all; those that say most of it first. */
async function byToken({ text, model, source, kind }, signal) {
  const { data } = await request('/api/search-token',
    { modelId: model, ...(source ? { source } : {}), token: text, mode: kind, limit: BY_TOKEN }, { signal });
  return {
    next: null, total: data.total,
    hits: data.results.map((row) => ({
      feature: shortObject(row), text: row.explanation ?? dashboard.label(row.label), isLabel: !row.explanation,
      note: kind === 'promotes' ? `logit ${short(row.logit)}` : `${ordinal(row.place)} among its tokens · maximum ${short(row.maxActApprox ?? 0)}`,
    })),
  };
}

export async function openSearch(main, frame) {
  const query = new URLSearchParams(location.search);
  const state = { text: query.get('q') ?? '', source: query.get('source') ?? '', kind: KINDS.some(([name]) => name === query.get('in')) ? query.get('in') : 'words' };
  const field = h('input', { type: 'search', id: 'query', value: state.text, 'aria-label': 'What to search for', autocomplete: 'off', spellcheck: 'false' });
  const picker = h('select', { id: 'source', 'aria-label': 'In which source', onchange: () => go({ source: picker.value }) }, h('option', { value: '' }, 'All sources'));
  const kinds = KINDS.map(([name, words]) => h('button', { type: 'button', 'data-kind': name, onclick: () => go({ kind: name }) }, words));
  const said = h('p', { class: 'said', role: 'status', id: 'said' });
  const list = h('ol', { class: 'found' });
  const help = h('ul', { class: 'searchhelp' }, HELP.map(([kind, name, words, example]) => h('li', {}, h('b', {}, name), `: ${words}, such as `,
    h('a', { href: searchPath({ q: example, ...(kind === 'words' ? {} : { in: kind }) }) }, visible(example)))),
  h('li', { class: 'muted' }, 'Labels and tokens are known of sources that have been indexed.'));
  const more = h('p', { class: 'more', hidden: true }, h('button', { type: 'button', class: 'plain', onclick: () => load(nextOffset) }, 'More'));
  let details = new Map();
  let catalogue = [];
  let model = '';
  let nextOffset = null;
  let asking = null;
  frame.keys([['/', 'to the search'], ['Enter', 'searches']]);
  main.replaceChildren(h('h1', { class: 'unseen' }, 'Search'),
    h('form', {
      class: 'asking', role: 'search', 'aria-label': 'All sources',
      onsubmit: (event) => {
        event.preventDefault();
        go({ text: field.value });
      },
    }, field, picker, h('div', { class: 'switch', role: 'group', 'aria-label': 'Search by' }, kinds), said), help, list, more);

  function go(what) {
    Object.assign(state, { text: field.value }, what);
    setQuery({ q: state.text, source: state.source, in: state.kind === 'words' ? null : state.kind }, { push: true });
    start();
  }
  function show() {
    for (const button of kinds) button.setAttribute('aria-pressed', String(button.dataset.kind === state.kind));
    field.placeholder = state.kind === 'words' ? 'Words of an explanation' : 'A token, with its leading space if it has one';
    help.hidden = state.text !== '';
    frame.title(state.text ? `“${state.text}”` : 'Search');
  }

  async function load(offset) {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    said.textContent = 'Searching…';
    try {
      const answer = state.kind === 'words' ? await byWords({ ...state, model, offset }, signal) : await byToken({ ...state, model }, signal);
      const rows = answer.hits.map((one) => hit(one, details));
      if (offset) list.append(...rows);
      else list.replaceChildren(...rows);
      nextOffset = answer.next;
      more.hidden = nextOffset === null;
      const shown = list.childElementCount;
      const total = Math.max(shown, answer.total ?? 0);
      const rest = shown < total && answer.next === null ? `, the first ${count(shown)} of them here` : '';
      said.textContent = total ? `${count(total)} ${total === 1 ? 'feature' : 'features'}${rest}` : 'Nothing found.';
      help.hidden = total > 0;
    } catch (error) {
      if (error.name !== 'AbortError') said.textContent = error.message;
    }
  }
  function start() {
    show();
    list.replaceChildren();
    more.hidden = true;
    said.textContent = '';
    const enough = state.kind === 'words' ? state.text.trim().length >= SHORTEST : state.text !== '';
    if (enough) load(0);
    else if (state.text) said.textContent = `At least ${SHORTEST} letters, please.`;
  }

  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.target.closest('input, textarea, select, dialog')) return;
    event.preventDefault();
    field.focus();
  });
  window.addEventListener('popstate', () => location.reload());
  show();
  try {
    const known = await frame.fill();
    ({ catalogue, model } = known);
    details = new Map((known.source_details ?? []).map((one) => [one.name, one]));
    picker.append(...options(catalogue));
    picker.value = state.source;
    if (picker.selectedIndex < 0) picker.selectedIndex = 0;
  } catch (error) {
    said.textContent = error.message;
    return;
  }
  start();
  if (!state.text) field.focus();
}
