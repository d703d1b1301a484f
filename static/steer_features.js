// The features that are steered with: found by words or by number, each with a slider.
import { request } from './api.js';
import { label } from './dashboard.js';
import { h, roving } from './dom.js';
import { brief, short } from './format.js';
import { knownMeaning, learn } from './meanings.js';
import { featurePath } from './paths.js';
import { describe, options } from './sources.js';

const TYPING_MS = 200;
const FOUND = 8;
const UNKNOWN_STRENGTH = 50; // where the maximum is not known
export const TOP_MULTIPLE = 3; // Neuronpedia's hint: three times the feature's strongest activation

const suggested = (one) => (one?.maximum > 0 ? Number((TOP_MULTIPLE * one.maximum).toPrecision(3)) : UNKNOWN_STRENGTH);

/** How far the slider goes, by method: a strength is a multiple of the row, a factor, or a cap. */
function reach(method, one, strength) {
  if (method === 'ORTHOGONAL_DECOMP') return 10;
  return Math.max(2 * suggested(one), Math.abs(strength));
}

const ENDS = {
  SIMPLE_ADDITIVE: (one) => (one?.maximum > 0 ? `${TOP_MULTIPLE} × its maximum is ${brief(suggested(one))}` : 'not indexed: its maximum is not known'),
  ORTHOGONAL_DECOMP: () => '0 removes its direction, 1 changes nothing',
  PROJECTION_CAP: () => 'no row goes further along its direction',
};

/** One feature: what it means, how strongly, and away with it. */
function card({ model, state, feature, onInput, onSettle, onRemove }) {
  const { source, index } = feature;
  const one = knownMeaning(source, index);
  const far = reach(state.method, one, feature.strength);
  const name = `Strength of ${source} ${index}`;
  const slider = h('input', { type: 'range', min: -far, max: far, step: far / 100, 'aria-label': name, list: `marks-${source}-${index}` });
  const number = h('input', { type: 'number', step: 'any', class: 'strength', 'aria-label': `${name}, as a number` });
  const hint = h('button', { type: 'button', class: 'link', title: 'Use it', onclick: () => settle(suggested(one)) }, ENDS[state.method](one));
  const times = h('span', { class: 'muted times' });
  function show(value, from) {
    feature.strength = value;
    if (from !== slider) slider.value = String(value);
    if (from !== number) number.value = brief(value);
    times.textContent = one?.maximum > 0 && state.method === 'SIMPLE_ADDITIVE' ? `${brief(value / one.maximum)} × its maximum` : '';
  }
  function settle(value) {
    if (!Number.isFinite(value)) return;
    show(value);
    onSettle();
  }
  slider.addEventListener('input', () => { show(Number(Number(slider.value).toPrecision(4)), slider); onInput(); });
  slider.addEventListener('change', onSettle);
  number.addEventListener('change', () => settle(Number(number.value)));
  show(feature.strength);
  const words = one?.text || `Feature ${index}`;
  return h('li', { class: 'dial', 'data-feature': `${source}:${index}` },
    h('div', { class: 'dialname' }, h('a', { href: featurePath(model, source, index), title: describe(source).label, class: one?.isLabel ? 'label' : null }, words),
      h('button', { type: 'button', class: 'plain', 'aria-label': `Remove feature ${index} of ${source}`, onclick: onRemove }, '×')),
    h('p', { class: 'by' }, `${source} · ${index}`),
    h('div', { class: 'dialrow' }, slider, number),
    h('datalist', { id: `marks-${source}-${index}` }, h('option', { value: 0 }), h('option', { value: suggested(one) })),
    h('p', { class: 'dialhint' }, state.method === 'SIMPLE_ADDITIVE' && one?.maximum > 0 ? hint : h('span', { class: 'muted' }, ENDS[state.method](one)), times));
}

/** A box for words; what they find is a list that is walked with the arrow keys. */
function finder({ onChoose }) {
  const field = h('input', { type: 'search', id: 'find-feature', placeholder: 'Search by words: “bible”, “numbers”…', 'aria-label': 'Search features by words', autocomplete: 'off', spellcheck: 'false' });
  const list = h('ul', { class: 'hits', id: 'hits', 'aria-label': 'Features found' });
  const said = h('p', { class: 'muted hitsaid', role: 'status' });
  const element = h('div', { class: 'finder' }, field, said, list);
  const { current } = roving(list, 'button', { next: ['ArrowDown'], previous: ['ArrowUp'] });
  let timer = null;
  let asking = null;
  function clear() {
    asking?.abort();
    field.value = '';
    said.textContent = '';
    list.replaceChildren();
  }
  async function look() {
    asking?.abort();
    asking = new AbortController();
    const query = field.value.trim();
    if (query.length < 3) {
      list.replaceChildren();
      said.textContent = query ? 'At least three letters.' : '';
      return;
    }
    try {
      const { data } = await request('/api/explanation/search-all', { query, offset: 0 }, { signal: asking.signal });
      const rows = data.results.slice(0, FOUND);
      said.textContent = rows.length ? '' : `Nothing is found for “${query}”.`;
      list.replaceChildren(...rows.map((row) => h('li', {}, h('button', {
        type: 'button', tabindex: -1, onclick: () => {
          clear();
          onChoose({ source: row.layer, index: Number(row.index) });
        },
      }, h('span', { class: row.isLabel ? 'text label' : 'text' }, row.isLabel ? label(row.description) : row.description),
      h('span', { class: 'by' }, `${row.layer} · ${row.index}`)))));
      const first = list.querySelector('button');
      if (first) current(first);
    } catch (error) {
      if (error.name !== 'AbortError') said.textContent = error.message;
    }
  }
  field.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(look, TYPING_MS);
  });
  field.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') clear();
    else if (event.key === 'ArrowDown') list.querySelector('button')?.focus();
    else if (event.key === 'Enter') list.querySelector('button')?.click();
    else return;
    event.preventDefault();
  });
  list.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    clear();
    field.focus();
  });
  return element;
}

/**
 * @param state {features: [{source, index, strength}], method}: changed in place
 * @param onInput a slider moves; onSettle something has changed; modelOf the model's name
 */
export function featurePanel(state, { onInput, onSettle, modelOf }) {
  const list = h('ul', { class: 'dials', id: 'dials' });
  const source = h('select', { id: 'add-source', 'aria-label': 'Source of the feature' });
  const index = h('input', { id: 'add-index', inputmode: 'numeric', autocomplete: 'off', placeholder: 'Number', 'aria-label': 'Number of the feature' });
  const problem = h('p', { class: 'hitsaid warn', role: 'alert' });
  const nearby = h('div', { class: 'nearby' });
  const byNumber = h('form', {
    class: 'bynumber', 'aria-label': 'Add a feature by number', onsubmit: (event) => {
      event.preventDefault();
      if (/^\d{1,9}$/.test(index.value.trim())) add({ source: source.value, index: Number(index.value) });
      else problem.textContent = 'A feature is a whole number from 0.';
    },
  }, source, index, h('button', { type: 'submit', class: 'plain' }, 'Add'));
  const element = h('section', { class: 'chosenfeatures', 'aria-labelledby': 'features-title' },
    h('div', { class: 'head' }, h('h2', { id: 'features-title' }, 'Features')), list, finder({ onChoose: add }), byNumber, problem, nearby);

  function draw() {
    list.replaceChildren(...state.features.map((feature) => card({
      model: modelOf(), state, feature, onInput, onSettle,
      onRemove: () => {
        state.features = state.features.filter((other) => other !== feature);
        draw();
        onSettle();
      },
    })));
  }
  /** strength: the suggested one if left out. */
  async function add({ source: from, index: number, strength }) {
    problem.textContent = '';
    try {
      await learn(modelOf(), [{ source: from, index: number }]);
    } catch (error) {
      problem.textContent = error.message;
      return;
    }
    if (!state.features.some((one) => one.source === from && one.index === number)) {
      state.features.push({ source: from, index: number, strength: strength ?? suggested(knownMeaning(from, number)) });
    }
    index.value = '';
    draw();
    onSettle();
  }
  return {
    element, add, draw,
    configure(sources, usual) {
      source.replaceChildren(...options(sources));
      if (usual) source.value = usual;
      byNumber.hidden = sources.length === 0;
    },
    /** Features that are active where the text ends: what could be turned up or down. */
    suggest(features) {
      const rows = features.filter((one) => !state.features.some((other) => other.source === one.source && other.index === one.index));
      nearby.replaceChildren(...(rows.length ? [h('h3', {}, 'Active where the text ends'), h('ul', { class: 'hits' }, rows.map((one) => {
        const known = knownMeaning(one.source, one.index);
        return h('li', {}, h('button', { type: 'button', onclick: () => add(one) },
          h('span', { class: known?.isLabel ? 'text label' : 'text' }, known?.text || `Feature ${one.index}`),
          h('span', { class: 'by' }, `${one.source} · ${one.index} · ${short(one.value)}`)));
      }))] : []));
    },
  };
}
