// A feature's page, at Neuronpedia's address: what makes it fire, how often, what it does.
import { request } from './api.js';
import { activationsPane } from './activations.js';
import * as dashboard from './dashboard.js';
import { h } from './dom.js';
import { embedPane, embedParts } from './embed.js';
import { explanationsPane } from './explanations.js';
import { count, percent, short } from './format.js';
import { capabilities } from './frame.js';
import { statistics } from './logits.js';
import { neighboursPane } from './neighbours.js';
import { comparePath, featurePath, modelPath, setQuery, sourcePath, steerPath } from './paths.js';
import { describe } from './sources.js';
import { testBox } from './testbox.js';

const KEYS = [['[ ]', 'previous, next'], ['r', 'random'], ['↑ ↓ ← →', 'walk the texts'], ['Enter', 'unfolds'],
  ['t', 'tests a text'], ['e', 'explain'], ['/', 'search']];

function jump({ model, source, index }) {
  const field = h('input', { id: 'jump', inputmode: 'numeric', autocomplete: 'off', 'aria-label': 'Go to feature', placeholder: 'Go to' });
  return h('form', {
    class: 'jump',
    onsubmit: (event) => {
      event.preventDefault();
      const wanted = field.value.trim();
      if (/^\d{1,9}$/.test(wanted) && Number(wanted) !== index) location.href = featurePath(model, source, Number(wanted));
    },
  }, field);
}

/** The line above everything: where this is, and the way to its neighbours by number. */
function headline(names) {
  const { model, source, index } = names;
  const to = (other) => featurePath(model, source, other);
  const previous = h('a', { class: 'plain', id: 'previous', rel: 'prev', href: to(Math.max(0, index - 1)), 'aria-label': 'Previous feature' }, '‹');
  const next = h('a', { class: 'plain', id: 'next', rel: 'next', href: to(index + 1), 'aria-label': 'Next feature' }, '›');
  if (index === 0) previous.removeAttribute('href');
  const random = h('button', {
    type: 'button', class: 'plain', id: 'random',
    onclick: async () => {
      const { data } = await request(`/api/random/${encodeURIComponent(model)}/${encodeURIComponent(source)}`);
      location.href = to(Number(data.index));
    },
  }, 'Random');
  const crumbs = h('nav', { class: 'crumbs', 'aria-label': 'Where this is' },
    h('a', { href: modelPath(model) }, model), h('span', { 'aria-hidden': 'true' }, '/'),
    h('a', { href: sourcePath(model, source) }, source), h('span', { 'aria-hidden': 'true' }, '/'), h('span', { 'aria-current': 'page' }, String(index)));
  const { thing, dense } = describe(source);
  const title = h('h1', {}, h('span', { class: 'unseen' }, `${thing[0].toUpperCase()}${thing.slice(1)} `), h('span', { class: 'number' }, String(index)), h('span', { class: 'means' }));
  const element = h('div', { class: 'headline' },
    h('div', { class: 'where' }, crumbs,
      h('div', { class: 'steps' }, previous, next, random, jump(names),
        h('a', { class: 'plain', href: comparePath([names]) }, 'Compare'),
        dense ? '' : h('a', { class: 'plain', id: 'steer', href: steerPath([names]) }, 'Steer'))), title);

  function means(feature) {
    const { text, isLabel } = dashboard.meaning(feature);
    title.lastChild.textContent = text || (feature.count === 0 || feature.maximum === 0 ? '' : 'unexplained');
    title.lastChild.classList.toggle('label', isLabel);
  }
  return { element, means, previous, next, random };
}

/** What the server says of the source; of the model's own neurons, which are no SAE's, the page's own facts. */
const detailsOf = (known, { source, facts }) => known?.source_details?.find(({ name }) => name === source) ?? facts.saelensConfig;

function factsTable(feature, details) {
  const { facts } = feature;
  const { dense, thing } = describe(feature.source);
  const rows = [
    ['Source', feature.source], ['Hook', details?.hook_name ?? facts.hookName], ['Architecture', dense ? null : details?.architecture],
    [dense ? `${thing[0].toUpperCase()}${thing.slice(1)}s` : 'Features', details?.d_sae && count(details.d_sae)], ['Width of the model', !dense && details?.d_in && count(details.d_in)],
    ['L0 as published', details?.l0], ['Contexts', facts.num_prompts && count(facts.num_prompts)],
    ['Tokens a context', facts.num_tokens_in_prompt], ['Corpus', facts.dataset],
    ['Fires on', dense || feature.count === null ? null : `${count(feature.count)} tokens`], ['Maximum', feature.maximum > 0 ? short(feature.maximum) : null], ['Minimum', feature.minimum < 0 ? short(feature.minimum) : null],
    ['Statistics', feature.imported ? 'imported file' : feature.other && 'indexed here; an imported file beside them'],
  ].filter(([, value]) => value);
  return h('table', { class: 'facts' }, h('tbody', {}, rows.map(([name, value]) => h('tr', {}, h('th', { scope: 'row' }, name), h('td', {}, String(value))))));
}

async function download({ model, source, index }) {
  const { data } = await request('/api/vector/get', { modelId: model, source, index: String(index) });
  const url = URL.createObjectURL(new Blob([JSON.stringify(data)], { type: 'application/json' }));
  h('a', { href: url, download: `${model}_${source}_${index}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function factsPane(feature) {
  const place = h('div', {}, factsTable(feature, detailsOf(null, feature)));
  const { dense } = describe(feature.source);
  const vector = dense ? '' : h('button', { type: 'button', class: 'plain', id: 'vector', title: 'Its column of the encoder, as JSON', onclick: () => download(feature) }, 'Download vector');
  const element = h('section', { 'aria-labelledby': 'facts' }, h('div', { class: 'head' }, h('h2', { id: 'facts' }, dense ? 'The source' : 'The SAE'), vector), place);
  async function start() {
    place.replaceChildren(factsTable(feature, detailsOf(await capabilities(), feature)));
  }
  return { element, start: () => start().catch(() => {}) };
}

/** The word that a page has nothing to show, and what to do about it. */
function notIndexed({ source }) {
  const words = h('p', {}, 'This source has not been indexed, so what makes the feature fire is not known. One command reads the corpus:');
  return h('div', { class: 'empty', id: 'notindexed' }, h('h2', {}, 'Not indexed yet'), words,
    h('pre', { tabindex: '0' }, `./darkmatter index --source ${source}`),
    h('p', { class: 'muted' }, describe(source).dense ? 'Testing a text works without it.' : 'Testing a text, its nearest features and the prompt lab work without it.'));
}

function deadCover(reveal) {
  return h('div', { class: 'empty', id: 'dead' }, h('h2', {}, 'No known activations'),
    h('p', {}, 'The feature is 0 on every token of the indexed text. It may be dead, or wait for a text that is not in the corpus.'),
    h('button', { type: 'button', class: 'plain', onclick: reveal }, 'Show anyway'));
}

function keyboard(head, test) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, textarea, select, dialog')) return;
    if (event.key === '[' && head.previous.href) head.previous.click();
    else if (event.key === ']' && head.next.href) head.next.click();
    else if (event.key === 'r') head.random.click();
    else if (event.key === 't' && !event.defaultPrevented) test.focus();
    else if (event.key === 'e') document.getElementById('explain')?.click();
    else return;
    event.preventDefault();
  });
}

/** Statistics, the test box, the texts. */
function body(feature, parts, test) {
  const stats = statistics(feature, { few: innerWidth < 640 ? 5 : 10 });
  const onCopy = parts.testfield ? (example) => {
    test.run(example.tokens.join(''));
    test.element.scrollIntoView({ block: 'nearest' });
  } : null;
  const texts = parts.activations && feature.indexed ? activationsPane(feature.examples, { onCopy }) : null;
  const everything = h('div', {});
  const dead = feature.indexed && !(feature.maximum > 0) && !(feature.minimum < 0);
  const shown = [parts.plots && feature.indexed ? stats.element : null, parts.test ? test.element : null, texts];
  if (dead) {
    everything.append(...(parts.test ? [test.element] : []), deadCover(() => everything.replaceChildren(...shown.filter(Boolean))));
  } else {
    everything.append(...shown.filter(Boolean), ...(feature.indexed ? [] : [notIndexed(feature)]));
  }
  return { element: everything, mark: stats.mark };
}

/** The right-hand pane. Where a file was imported for a feature that is indexed here, either is shown
    with its origin, never both mixed. */
function evidence(feature, parts, test) {
  const other = feature.other && dashboard.feature({ ...feature.other, modelId: feature.model, layer: feature.source, index: feature.index });
  const kinds = other ? [['here', 'Indexed here', feature], ['imported', 'Imported file', other]] : [['here', '', feature]];
  const place = h('div', {});
  const buttons = kinds.map(([name, words]) => h('button', { type: 'button', 'data-origin': name, onclick: () => show(name) }, words));
  let mark = () => {};
  function show(name) {
    const [origin, , shown] = kinds.find(([one]) => one === name) ?? kinds[0];
    const next = body(shown, parts, test);
    ({ mark } = next);
    place.replaceChildren(next.element);
    for (const button of buttons) button.setAttribute('aria-pressed', String(button.dataset.origin === origin));
    if (other) setQuery({ origin: origin === 'here' ? null : origin });
  }
  show(new URLSearchParams(location.search).get('origin'));
  const element = h('div', { class: 'evidence' },
    other ? h('div', { class: 'head origins' }, h('h2', {}, 'Statistics'), h('div', { class: 'switch', role: 'group', 'aria-label': 'Whose statistics' }, buttons)) : null, place);
  return { element, mark: (value) => mark(value) };
}

function draw(main, head, row, names) {
  const feature = dashboard.feature({ ...row, modelId: row.modelId ?? names.model, layer: row.layer ?? names.source, index: row.index ?? names.index });
  const parts = embedParts();
  let mark = () => {};
  const test = testBox(feature, { field: parts.testfield, onValue: (value) => mark(value) });
  const right = evidence(feature, parts, test);
  mark = right.mark;
  head.means(feature);
  const left = [];
  if (parts.explanation) left.push(explanationsPane(feature, { onChange: () => head.means(feature) }));
  const later = [];
  if (!parts.embedded) {
    const near = neighboursPane(feature);
    const facts = factsPane(feature);
    // The dimensions of a row are at right angles to each other: none is nearer than another.
    if (describe(feature.source).set !== 'mlp_out') {
      left.push(near.element);
      later.push(near.start);
    }
    left.push(facts.element, embedPane(names));
    later.push(facts.start);
  }
  main.replaceChildren(...(parts.embedded ? [] : [head.element]),
    h('div', { class: parts.embedded ? 'dashboard bare' : 'dashboard' },
      h('div', { class: 'about' }, left), right.element),
    ...(parts.embedded && parts.link ? [h('p', { class: 'embedlink' }, h('a', { href: location.pathname, target: '_blank', rel: 'noopener' }, `${names.source} · ${names.index} in darkmatter`))] : []));
  performance.mark('feature-drawn');
  for (const start of later) start();
  const words = new URLSearchParams(location.search).get('defaulttesttext');
  if (words && parts.test) test.run(words);
  if (!parts.embedded) keyboard(head, test);
  return feature;
}

export async function openFeature(main, frame, { model, source, index: text }) {
  const names = { model, source, index: Number(text) };
  const asked = request(`/api/feature/${encodeURIComponent(model)}/${encodeURIComponent(source)}/${names.index}`);
  const head = headline(names);
  frame.keys(KEYS);
  frame.searchKey();
  frame.title(`${source} · ${names.index}`);
  main.replaceChildren(head.element);
  let feature = null;
  try {
    const { data } = await asked;
    feature = draw(main, head, data, names);
    const { text: meaning } = dashboard.meaning(feature);
    if (meaning) frame.title(`${names.index}: ${meaning.slice(0, 60)}`);
  } catch (error) {
    main.replaceChildren(head.element, h('div', { class: 'notice', role: 'alert' }, h('p', {}, error.message)),
      ...(error.status === 404 ? [h('p', {}, h('a', { href: sourcePath(model, source) }, `The features of ${source}`))] : []));
  }
  const known = await frame.fill();
  const details = detailsOf(known, { source, facts: feature?.facts ?? {} });
  if (details && names.index + 1 >= details.d_sae) head.next.removeAttribute('href');
  document.querySelector('.crumbs a:nth-of-type(2)')?.setAttribute('title', describe(source, describe(source).dense ? null : details).label);
  main.dataset.ready = '';
}
