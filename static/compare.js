// Several features side by side; the address lists them as Neuronpedia's quick lists do.
import { examplesList } from './activations.js';
import { request } from './api.js';
import * as dashboard from './dashboard.js';
import { h } from './dom.js';
import { percent, short, visible } from './format.js';
import { activationHistogram, spread } from './logits.js';
import { passage, tokenWords } from './passage.js';
import { comparePath, featurePath, setQuery } from './paths.js';
import { describe, options } from './sources.js';
import { tips } from './tip.js';

const EXAMPLES = 6;
const LOGITS = 5;
const MOST = 12;

function wanted() {
  try {
    const list = JSON.parse(new URLSearchParams(location.search).get('features') ?? '[]');
    return list.map((one) => ({ model: String(one.modelId), source: String(one.layer ?? one.source), index: Number(one.index) }))
      .filter(({ index }) => Number.isSafeInteger(index) && index >= 0).slice(0, MOST);
  } catch {
    return [];
  }
}

const tokens = (list, sign) => h('ol', { class: 'logits' }, list.slice(0, LOGITS).map(({ token, value }) => {
  const pill = h('span', { class: `pill ${sign}` }, visible(token));
  pill.style.setProperty('--part', '.6');
  return h('li', {}, pill, h('span', { class: 'value' }, value.toFixed(2)));
}));

function column(feature, { onRemove }) {
  const { text, isLabel } = dashboard.meaning(feature);
  const tested = h('div', { class: 'tested', 'aria-live': 'polite' });
  const fires = activationHistogram(feature, `Activations of ${feature.index}`);
  const element = h('section', { class: 'side', 'aria-label': `Feature ${feature.index} of ${feature.source}`, 'data-index': feature.index },
    h('div', { class: 'head' }, h('h2', {}, h('a', { href: featurePath(feature.model, feature.source, feature.index) }, String(feature.index))),
      h('button', { type: 'button', class: 'plain', 'aria-label': `Remove feature ${feature.index}`, onclick: onRemove }, '×')),
    h('p', { class: 'by' }, describe(feature.source).label),
    h('p', { class: isLabel ? 'means label' : 'means', title: text || null }, text || '\u00a0'), tested,
    h('h3', {}, feature.minimum < 0 ? spread(feature) : `Density ${percent(feature.density)} · maximum ${short(feature.maximum)}`),
    fires ? fires.element : h('p', { class: 'muted' }, feature.indexed ? 'It has not fired on the indexed text.' : 'Not indexed yet.'),
    h('div', { class: 'pair' },
      h('div', {}, h('h3', {}, 'Negative logits'), tokens(feature.negative, 'against')),
      h('div', {}, h('h3', {}, 'Positive logits'), tokens(feature.positive, 'for'))),
    h('h3', {}, 'Top activations'),
    examplesList(dashboard.fold(feature.examples).firsts.slice(0, EXAMPLES), { maximum: feature.maximum, mode: 'snippet' }));

  async function test(words) {
    const { data } = await request('/api/activation/new', {
      feature: { modelId: feature.model, source: feature.source, index: String(feature.index) }, customText: words, ignoreBos: true,
    });
    const shown = passage({ tokens: data.tokens, values: data.values, at: data.maxValueTokenIndex }, { maximum: Math.max(feature.maximum, -feature.minimum, data.maxValue, -data.minValue), label: 'Your text' });
    tips(shown, '.tok', (cell) => tokenWords(cell, data.tokens));
    tested.replaceChildren(h('h3', {}, `Your text · ${short(data.maxValue)}`), shown);
    fires?.mark(data.maxValue > 0 ? data.maxValue : null);
  }
  return { element, test };
}

export async function openCompare(main, frame) {
  let features = wanted();
  let columns = [];
  const source = h('select', { id: 'add-source', 'aria-label': 'Source of the feature to add' });
  const index = h('input', { id: 'add-index', inputmode: 'numeric', autocomplete: 'off', placeholder: 'Feature', 'aria-label': 'Feature to add', size: 8 });
  const text = h('input', { type: 'search', id: 'testall', placeholder: 'Test a text on all of them', 'aria-label': 'Text to test on all features' });
  const problem = h('div', { class: 'notice', role: 'alert', hidden: true });
  const place = h('div', { class: 'sides', tabindex: '0', role: 'region', 'aria-label': 'Features side by side' });
  let model = features[0]?.model ?? '';
  const fail = (error) => {
    problem.replaceChildren(h('p', {}, error.message));
    problem.hidden = false;
  };

  async function test(words) {
    setQuery({ defaulttesttext: words });
    if (words === '') return;
    try {
      await Promise.all(columns.map((one) => one.test(words)));
    } catch (error) {
      fail(error);
    }
  }
  async function load() {
    problem.hidden = true;
    const list = new URL(comparePath(features), location).searchParams.get('features');
    setQuery({ features: features.length ? list : null });
    if (!features.length) return place.replaceChildren(h('p', { class: 'muted' }, 'Add features to see them side by side.'));
    try {
      const { data } = await request('/api/features', features.map((one) => ({
        modelId: one.model, layer: one.source, index: one.index, maxActsToReturn: 20,
      })));
      columns = data.map((row, i) => column(dashboard.feature(row), {
        onRemove: () => {
          features = features.filter((_, at) => at !== i);
          load();
        },
      }));
      place.replaceChildren(...columns.map(({ element }) => element));
      if (text.value) test(text.value);
    } catch (error) {
      fail(error);
    }
  }

  frame.keys([['/', 'search']]);
  frame.searchKey();
  frame.title('Compare');
  text.value = new URLSearchParams(location.search).get('defaulttesttext') ?? '';
  main.replaceChildren(h('h1', { class: 'unseen' }, 'Compare features'),
    h('div', { class: 'asking' },
      h('form', {
        class: 'field', 'aria-label': 'Add a feature',
        onsubmit: (event) => {
          event.preventDefault();
          if (!/^\d{1,9}$/.test(index.value.trim()) || features.length >= MOST) return;
          features.push({ model, source: source.value, index: Number(index.value) });
          index.value = '';
          load();
        },
      }, source, index, h('button', { type: 'submit', class: 'plain' }, 'Add')),
      h('form', {
        class: 'field everywhere', 'aria-label': 'Test a text',
        onsubmit: (event) => {
          event.preventDefault();
          test(text.value);
        },
      }, text, h('button', { type: 'submit', class: 'plain' }, 'Test'))), problem, place);
  load();
  try {
    const known = await frame.fill();
    model = known.model;
    source.append(...options(known.catalogue));
    if (features.length) source.value = features[0].source;
  } catch (error) {
    fail(error);
  }
}
